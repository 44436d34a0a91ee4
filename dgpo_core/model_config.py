"""The settings of the model: which one, how much of it is trained, and what memory it may take."""

from __future__ import annotations

from dataclasses import dataclass

from dgpo_core.knob import knob

ALL_LAYERS = "attention_and_feed_forward"
ATTENTION = "attention"
PROMPT_LAYERS = "prompt_layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What is fine-tuned, and how much of it may move."""

    folder: str = knob(
        "assets/shapes-sd3",
        "Diffusers folder, single safetensors file or Hugging Face id of a text-to-image model.",
        is_important=True,
    )
    parts_from: str = knob(
        "", "Folder or Hugging Face id of the same kind of model, for what a single safetensors file lacks."
    )
    trained: str = knob(
        "lora",
        "What is trained: LoRA matrices beside frozen weights, or all weights, which takes many times the memory.",
        choices=("lora", "all_weights"),
    )
    lora_rank: int = knob(32, "Rank of the LoRA matrices that are trained.", low=1, high=512)
    lora_alpha: int = knob(64, "LoRA scale times its rank; twice the rank is usual.", low=1, high=1024)
    lora_targets: str = knob(
        ALL_LAYERS,
        "Layers that get a LoRA: those of attention, as in the paper's code, those between as well, or only those on "
        "the prompt's side, which learn what a prompt means and leave the drawing as it is.",
        choices=(ALL_LAYERS, ATTENTION, PROMPT_LAYERS),
    )
    picture_side: int = knob(
        0, "Width and height of pictures in pixels; 0 is what the model was made for.", low=0, high=4096
    )
    distilled_guidance: float = knob(
        3.5, "Guidance that models such as FLUX.1-dev are told as a number; others do not read it.", low=0, high=100
    )
    quantization: str = knob(
        "none",
        "Bits of the frozen weights; below 16 the package bitsandbytes is needed.",
        choices=("none", "8bit", "4bit"),
    )
    checkpointing: bool = knob(
        False, "Compute activations a second time instead of keeping them: less memory, a third more time."
    )
    text_encoders: str = knob(
        "keep",
        "Where text encoders are once the run's prompts are encoded: kept, offloaded to main memory, or dropped.",
        choices=("keep", "offload", "drop"),
    )
    prompts_remembered: int = knob(
        4096, "Encoded prompts that are kept in main memory, the latest used ones.", low=1, high=1_000_000
    )
