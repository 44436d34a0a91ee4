"""What memory a run will take, reckoned from configurations alone: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn

from dgpo_core.config import STOCHASTIC_SAMPLERS, RunConfig
from dgpo_core.errors import ModelError
from dgpo_core.models.activations import activation_bytes, decoding_bytes, forward_bytes
from dgpo_core.models.autoencoder import pictures_at_once
from dgpo_core.models.catalogue import family_of
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.pipeline_folder import OPTIONAL, parts_of, unloadable

FLOAT32 = 4
OWN_COPIES = 11
"""Numbers per trained one: itself, gradient, two of Adam, old policy, averaged, and five that a stop goes back to."""
RENEWED_COPIES = 2
"""The same of a reference that is taken anew: itself, and the one that a stop goes back to."""
PATHS_IN_AN_UPDATE = 2
"""Copies of the paths: those drawn, and those of the groups that are learned from."""
PIECES_GRADIENTS = 2
"""Gradients that wait for the gate of a group that is larger than a micro-batch."""
BYTES = {"8bit": 1.05, "4bit": 0.57}
"""Bytes per number of quantized weights, their scales included."""


PHASES = ("drawing", "decoding", "activations")
"""Parts that never meet."""
REWARDS = "rewards"
PARTS = ("weights", "trained", "text_encoders", "autoencoder", *PHASES, REWARDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes per part of a run while it trains; activations are those of one micro-batch, and gradients that wait.

    drawing is the copy of the weights that takes up the LoRA, and what a batch of pictures takes in the network;
    decoding what pictures take in the autoencoder, as many as go through it together; both with an encoded prompt for
    each picture of a step.
    encoding is the sum before that, while prompts are encoded and all text encoders are there.
    rewards_visit says that the models of rewards are there only while they judge, when nothing else is.
    uncounted are rewards whose size cannot be known beforehand.
    """

    weights: int
    trained: int
    text_encoders: int
    autoencoder: int
    drawing: int
    decoding: int
    activations: int
    rewards: int = 0
    rewards_visit: bool = False
    encoding: int = 0
    uncounted: tuple[str, ...] = ()

    @property
    def training(self) -> int:
        """The most at one time while it trains."""
        always = sum(getattr(self, name) for name in PARTS if name not in (*PHASES, REWARDS))
        by_turns = [getattr(self, name) for name in PHASES]
        return always + (max(*by_turns, self.rewards) if self.rewards_visit else max(by_turns) + self.rewards)

    @property
    def peak(self) -> int:
        """The most at one time in the whole run."""
        return max(self.training, self.encoding + (0 if self.rewards_visit else self.rewards))

    def in_words(self) -> str:
        """The peak and its parts, in gigabytes, and what is not counted."""
        when = f", while prompts are encoded; {self.training / 1e9:.1f} GB after that" * (self.peak > self.training)
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
    network = getattr(pipeline, family_of(folder).network_name)
    weights = int(numel(network) * BYTES.get(config.model.quantization, dtype.itemsize))
    weights += sum(one.nbytes for one in network.buffers())  # a table of positions may have as many as some layers
    model = family_of(folder)(pipeline, config.model, seed=0)
    drawn = max(config.rollout.groups_per_step * config.rollout.group_size, config.schedule.evaluation_prompts)
    batch, decoded = min(drawn, 2 * config.update.micro_batch), min(drawn, pictures_at_once(prod(model.picture_size)))
    prompts = drawn * _prompt_bytes(model, dtype)
    if config.model.trained == "all_weights":  # in float32 by now, but cast to dtype in every forward
        nn.Module.to(network, "meta", dtype)
    trained = FLOAT32 * sum(one.numel() for one in model.policy_parameters().values())
    return Memory(
        weights=weights,
        trained=trained * (OWN_COPIES + (RENEWED_COPIES if config.loss.reference_every else 0)),
        text_encoders=text if config.model.text_encoders == "keep" else 0,
        autoencoder=vae,
        drawing=_copy_bytes(model, config, dtype) + prompts + batch * forward_bytes(model, dtype),
        decoding=prompts + decoded * decoding_bytes(model, dtype) + _path_bytes(model, config),
        activations=_update_bytes(model, config, dtype, trained) + PATHS_IN_AN_UPDATE * _path_bytes(model, config),
        encoding=weights + trained + text + vae,
    )


def _path_bytes(model: DiffusersModel, config: RunConfig) -> int:
    """Every point of the paths that a stochastic sampler drew, for Flow-GRPO to learn from; others keep none."""
    rollout = config.rollout
    if rollout.sampler not in STOCHASTIC_SAMPLERS:
        return 0
    points = rollout.groups_per_step * rollout.group_size * (rollout.num_sampling_steps + 1)
    return FLOAT32 * points * prod(model.latent_shape)


def _prompt_bytes(model: DiffusersModel, dtype: torch.dtype) -> int:
    """One encoded prompt."""
    tokens, width, pooled = model.prompt_shape()
    return (tokens * width + pooled) * dtype.itemsize


def _update_bytes(model: DiffusersModel, config: RunConfig, dtype: torch.dtype, trained: int) -> int:
    """What one micro-batch takes beside the weights: its graph, and gradients that wait."""
    waiting = 0 if config.update.per_sigma else 1  # that of earlier levels, should memory run out in this one
    if config.rollout.group_size > config.update.micro_batch:
        waiting += PIECES_GRADIENTS + (1 if config.loss.kl_weight > 0 else 0)
    graphs = config.update.micro_batch * activation_bytes(model, dtype)
    return waiting * trained + graphs + _cast_bytes(model, config, dtype)


def _copy_bytes(model: DiffusersModel, config: RunConfig, dtype: torch.dtype) -> int:
    """The copy of weights that draws: those with a LoRA, which is added; none of quantized ones, all of cast ones."""
    if config.model.trained == "all_weights":
        return _cast_bytes(model, config, dtype)
    layers = [one for one in model.network.modules() if isinstance(one, LoraLayer)]
    is_merged = config.model.quantization == "none"
    return dtype.itemsize * sum(one.get_base_layer().weight.numel() for one in layers) if is_merged else 0


def _cast_bytes(model: DiffusersModel, config: RunConfig, dtype: torch.dtype) -> int:
    """The weights in dtype, which a forward keeps beside those in float32 where all are trained."""
    is_cast = config.model.trained == "all_weights" and dtype != torch.float32
    return numel(model.network) * dtype.itemsize if is_cast else 0


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
