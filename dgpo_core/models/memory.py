"""What memory a run will take, reckoned from configurations alone: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from torch import nn

from dgpo_core.config import RunConfig
from dgpo_core.models.activations import activation_bytes
from dgpo_core.models.catalogue import family_of
from dgpo_core.models.pipeline_folder import parts_of

FLOAT32 = 4
OWN_COPIES = 11
"""Numbers per trained one: itself, gradient, two of Adam, old policy, averaged, and five that a stop goes back to."""
BYTES = {"8bit": 1.05, "4bit": 0.57}
"""Bytes per number of quantized weights, their scales included."""
DECODING_BYTES = 1500
"""Per pixel, of the widest layers of an autoencoder, measured in bfloat16 on Stable Diffusion 3's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes per part of a run; activations are those of one micro-batch."""

    weights: int
    trained: int
    text_encoders: int
    autoencoder: int
    activations: int
    decoding: int

    @property
    def peak(self) -> int:
        """The most at one time: activations and decoding never meet."""
        parts = sum(getattr(self, one.name) for one in fields(self))
        return parts - min(self.activations, self.decoding)

    def in_words(self) -> str:
        """The peak and its parts, in gigabytes."""
        parts = ", ".join(f"{one.name.replace('_', ' ')} {getattr(self, one.name) / 1e9:.2f}" for one in fields(self))
        return f"About {self.peak / 1e9:.1f} GB of memory at most: {parts}."


def memory_of(config: RunConfig, folder: Path, dtype: torch.dtype) -> Memory:
    """What a run with these settings takes, its model lying in folder and its frozen weights in dtype.

    Raises:
        ModelError: the folder holds no model that can be trained.
    """
    pipeline = _empty_pipeline(folder, dtype)
    encoders = [part for name, part in pipeline.components.items() if name.startswith("text_encoder") and part]
    text, vae = sum(_numel(one) for one in encoders), _numel(pipeline.vae)
    frozen = _numel(getattr(pipeline, family_of(folder).network_name))
    model = family_of(folder)(pipeline, config.model, seed=0)
    trained = sum(one.numel() for one in model.policy_parameters().values())
    one_picture = activation_bytes(model, dtype)
    return Memory(
        weights=int(frozen * BYTES.get(config.model.quantization, dtype.itemsize)),
        trained=trained * FLOAT32 * OWN_COPIES,
        text_encoders=text * dtype.itemsize if config.model.text_encoders == "keep" else 0,
        autoencoder=vae * dtype.itemsize,
        activations=config.update.micro_batch * one_picture,
        decoding=model.picture_size[0] * model.picture_size[1] * DECODING_BYTES * dtype.itemsize // 2,
    )


def _empty_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder without numbers and without tokenizers."""
    index, family = parts_of(folder), family_of(folder)
    parts: dict[str, Any] = {name: None for name in index if not name.startswith("_") and name in ACCEPTED}
    for name in parts:
        library, class_name = index[name] or ("", "")
        if not class_name or name.startswith(("tokenizer", "safety", "feature", "image_encoder")):
            continue
        kind = getattr({"diffusers": diffusers, "transformers": transformers}[library], class_name)
        if name == "scheduler":
            parts[name] = kind.from_pretrained(folder / name)
            continue
        with init_empty_weights(include_buffers=True):
            if library == "diffusers":
                parts[name] = kind.from_config(kind.load_config(folder / name))
            else:
                parts[name] = kind(kind.config_class.from_pretrained(folder / name))
        nn.Module.to(parts[name], dtype)
    return family.pipeline_class(**parts)


ACCEPTED = {
    "scheduler",
    "vae",
    "transformer",
    "unet",
    *(f"{part}{number}" for part in ("text_encoder", "tokenizer") for number in ("", "_2", "_3")),
    "safety_checker",
    "feature_extractor",
    "image_encoder",
}


def _numel(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())
