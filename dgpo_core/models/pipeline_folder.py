"""A diffusers pipeline from its folder, or one sentence that says why not."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, PipelineQuantizationConfig
from safetensors import SafetensorError
from torch import nn

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
OPTIONAL = ("text_encoder_3", "tokenizer_3", "safety_checker", "feature_extractor", "image_encoder")
"""Parts that a pipeline can draw without."""
NOT_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
TALKATIVE = "bitsandbytes.autograd._functions"
"""Says of every product of 8-bit weights that bfloat16 is cast to float16 for it, a thousand times a step."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def load_pipeline(
    folder: Path, pipeline_class: type[DiffusionPipeline], config: ModelConfig, dtype: torch.dtype
) -> Any:
    """The pipeline of a folder, weights in dtype; optional parts that the folder lacks are left out.

    What judges pictures or reads them is left out too. The network that is trained is quantized where config says so.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, of pickles, or of another pipeline.
    """
    parts = parts_of(folder)
    if parts["_class_name"] != pipeline_class.__name__:
        raise ModelError(
            f"The model in {folder} is a {parts['_class_name']}, and not a {pipeline_class.__name__}. Choose another."
        )
    _check_files(folder, parts)
    left_out = {name: None for name in OPTIONAL if name in parts and not (folder / name).exists()}
    left_out |= {name: None for name in NOT_LOADED if name in parts}
    try:
        pipeline = pipeline_class.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            **left_out,
            **_quantized(parts, config, dtype),
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise unloadable(folder, error) from error
    check_whole(pipeline, folder)
    return pipeline


def unloadable(source: Path | str, error: Exception) -> ModelError:
    """What to say where a library could not read a model, in its own words."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")
    return ModelError(f"The model in {source} cannot be loaded: {reason}. Restore it or choose another.")


def parts_of(folder: Path) -> dict[str, Any]:
    """The pipeline's class, as _class_name, and its parts, as its index names them.

    Raises:
        ModelError: there is no index, or it is damaged.
    """
    index = folder / "model_index.json"
    try:
        parts = {**json.loads(index.read_text(encoding="utf-8"))}
    except OSError as error:
        raise ModelError(
            f"There is no model in {str(folder)[:200]}: it has no model_index.json. Name a folder that holds a "
            "diffusers pipeline, such as assets/shapes-sd3."
        ) from error
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{index} is damaged: it is not a JSON object. Restore the folder or choose another."
        ) from error
    return {"_class_name": None} | parts


def _check_files(folder: Path, parts: dict[str, Any]) -> None:
    """Raises ModelError for what loading would not notice, or would say in other words."""
    for name in (part for part, what in parts.items() if not part.startswith("_") and what not in ([None, None], None)):
        place = folder / name
        # Without its files transformers makes an empty tokenizer, for which all prompts are the same.
        if name.startswith("tokenizer") and name not in OPTIONAL and not _holds(place, TOKENIZER_FILES):
            raise ModelError(
                f"The model in {folder} cannot be loaded: {name} has none of {', '.join(TOKENIZER_FILES)}. "
                "Restore the folder or choose another."
            )
        if name not in NOT_LOADED and _holds(place, PICKLES) and not _holds(place, ("*.safetensors",)):
            raise ModelError(
                f"The model in {folder} has its {name} as a pickle, which could run any program when it is opened, and "
                "is not read. Convert it to safetensors, or choose another copy of the model."
            )


def _holds(place: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(place.glob(pattern), None) for pattern in patterns)


def _quantized(parts: dict[str, Any], config: ModelConfig, dtype: torch.dtype) -> dict[str, Any]:
    """What from_pretrained is told so that the network's frozen weights take 8 or 4 bits.

    Raises:
        ModelError: the library for it is missing, or all weights are to be trained.
    """
    if config.quantization == "none":
        return {}
    if config.trained == "all_weights":
        raise ModelError(
            f"model.quantization is {config.quantization}, but model.trained is all_weights, and quantized weights "
            "cannot be trained. Set model.trained to lora, or model.quantization to none."
        )
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"model.quantization is {config.quantization}, which needs the package bitsandbytes. Install it with "
            ".venv/bin/python -m pip install -c constraints.txt bitsandbytes, or set model.quantization to none."
        )
    four_bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    backend, details = {
        "4bit": ("bitsandbytes_4bit", four_bits),
        "8bit": ("bitsandbytes_8bit", {"load_in_8bit": True}),
    }[config.quantization]
    logging.getLogger(TALKATIVE).setLevel(logging.ERROR)
    network = "unet" if "unet" in parts else "transformer"
    quantization = PipelineQuantizationConfig(
        quant_backend=backend, quant_kwargs=details, components_to_quantize=[network]
    )
    return {"quantization_config": quantization}


def check_whole(pipeline: DiffusionPipeline, source: Path) -> None:
    """Raises ModelError where a weight was not in the files, which diffusers only warns of."""
    for part in (one for one in pipeline.components.values() if isinstance(one, nn.Module)):
        lacking = [name for name, weight in part.named_parameters() if weight.is_meta]
        if lacking:
            raise ModelError(
                f"The model in {source} cannot be loaded: {len(lacking)} weights are missing, first {lacking[0]}. "
                "Restore it or choose another."
            )
