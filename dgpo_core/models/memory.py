"""What memory a run will take, reckoned from configurations alone: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from dgpo_core.config import RunConfig
from dgpo_core.errors import ModelError
from dgpo_core.models.activations import activation_bytes
from dgpo_core.models.catalogue import family_of
from dgpo_core.models.pipeline_folder import OPTIONAL, parts_of, unloadable

FLOAT32 = 4
OWN_COPIES = 11
"""Numbers per trained one: itself, gradient, two of Adam, old policy, averaged, and five that a stop goes back to."""
BYTES = {"8bit": 1.05, "4bit": 0.57}
"""Bytes per number of quantized weights, their scales included."""
DECODING_BYTES = 1500
"""Per pixel, of the widest layers of an autoencoder, measured in bfloat16 on Stable Diffusion 3's."""


PARTS = ("weights", "trained", "text_encoders", "autoencoder", "activations", "decoding", "rewards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes per part of a run while it trains; activations are those of one micro-batch.

    encoding is the sum before that, while prompts are encoded and all text encoders are there.
    uncounted are rewards whose size cannot be known beforehand.
    """

    weights: int
    trained: int
    text_encoders: int
    autoencoder: int
    activations: int
    decoding: int
    rewards: int = 0
    encoding: int = 0
    uncounted: tuple[str, ...] = ()

    @property
    def training(self) -> int:
        """The most at one time while it trains: activations and decoding never meet."""
        return sum(getattr(self, name) for name in PARTS) - min(self.activations, self.decoding)

    @property
    def peak(self) -> int:
        """The most at one time in the whole run."""
        return max(self.training, self.encoding)

    def in_words(self) -> str:
        """The peak and its parts, in gigabytes, and what is not counted."""
        when = f", while prompts are encoded; {self.training / 1e9:.1f} GB after that" * (self.encoding > self.training)
        parts = ", ".join(f"{name.replace('_', ' ')} {getattr(self, name) / 1e9:.2f}" for name in PARTS)
        left_out = f" Not counted, as their size is not known here: {', '.join(self.uncounted)}." * bool(self.uncounted)
        return f"About {self.peak / 1e9:.1f} GB of memory at most{when}: {parts}.{left_out}"


def memory_of(config: RunConfig, folder: Path, dtype: torch.dtype) -> Memory:
    """What a run with these settings takes, its model lying in folder and its frozen weights in dtype; without rewards.

    Raises:
        ModelError: the folder holds no model that can be trained, or its configurations are damaged.
    """
    try:
        return _reckoned(config, folder, dtype)
    except ModelError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise unloadable(folder, error) from error


def _reckoned(config: RunConfig, folder: Path, dtype: torch.dtype) -> Memory:
    pipeline = _empty_pipeline(folder, dtype)
    encoders = [part for name, part in pipeline.components.items() if name.startswith("text_encoder") and part]
    text, vae = (sum(numel(one) for one in parts) * dtype.itemsize for parts in (encoders, [pipeline.vae]))
    frozen = numel(getattr(pipeline, family_of(folder).network_name))
    model = family_of(folder)(pipeline, config.model, seed=0)
    trained = FLOAT32 * sum(one.numel() for one in model.policy_parameters().values())
    weights = int(frozen * BYTES.get(config.model.quantization, dtype.itemsize))
    return Memory(
        weights=weights,
        trained=trained * OWN_COPIES,
        text_encoders=text if config.model.text_encoders == "keep" else 0,
        autoencoder=vae,
        activations=config.update.micro_batch * activation_bytes(model, dtype),
        decoding=model.picture_size[0] * model.picture_size[1] * DECODING_BYTES * dtype.itemsize // 2,
        encoding=weights + trained + text + vae,
    )


def _empty_pipeline(folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder without numbers and without tokenizers."""
    index, family = parts_of(folder), family_of(folder)
    parts: dict[str, Any] = {name: None for name in index if not name.startswith("_") and name in ACCEPTED}
    for name in parts:
        library, class_name = index[name] or ("", "")
        if not class_name or name.startswith(("tokenizer", "safety", "feature", "image_encoder")):
            continue
        if name in OPTIONAL and not (folder / name).exists():  # it is not loaded either
            continue
        kind = getattr({"diffusers": diffusers, "transformers": transformers}[library], class_name)
        if name == "scheduler":
            parts[name] = kind.from_pretrained(folder / name)
            continue
        with torch.device("meta"):  # of this thread alone, as a run may be loading its model in another
            if library == "diffusers":
                parts[name] = kind.from_config(kind.load_config(folder / name))
            else:
                (folder / name / "config.json").stat()  # without it transformers would take a size of its own
                parts[name] = kind(kind.config_class.from_pretrained(folder / name))
        nn.Module.to(parts[name], "meta", dtype)
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


def numel(part: nn.Module) -> int:
    """How many numbers a network has."""
    return sum(weight.numel() for weight in part.parameters())
