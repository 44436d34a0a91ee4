"""A model in one safetensors file, the rest of its pipeline from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.pipeline_folder import check_whole, load_pipeline, unloadable

HELD = {
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
"""What names of weights begin with, by part, in a file in its authors' layout that holds more than the network."""
PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.")
"""What may stand before all names of a file that has the network alone, under diffusers' own names."""
SAME_NAMES = ("QwenImageTransformer2DModel",)
"""Networks whose authors' names are diffusers' own, so that diffusers has nothing to convert."""
LORA = ("lora_A", "lora_B", "lora_up", "lora_down")


def load_single_file(
    file: Path,
    base: Path,
    *,
    pipeline_class: type[DiffusionPipeline],
    network_name: str,
    config: ModelConfig,
    dtype: torch.dtype,
) -> Any:
    """The pipeline of base, with the weights of file: a network in diffusers' names, or a file in its authors' layout.

    Parts that the file does not hold are those of base, and so are all configurations; nothing is fetched.

    Raises:
        ModelError: the file is no safetensors file, is damaged, a LoRA, or of another model than base; or it is to be
            quantized.
    """
    names = _names(file)
    if any(mark in name for name in names for mark in LORA):
        raise ModelError(f"{file} is a LoRA and not a whole model. Name the model that it belongs to.")
    if config.quantization != "none":
        raise ModelError(
            f"model.quantization is {config.quantization}, but {file} is one file, and only folders are quantized. "
            "Set model.quantization to none, or name a diffusers folder of this model."
        )
    pipeline = load_pipeline(base, pipeline_class, config, dtype)
    network: nn.Module = getattr(pipeline, network_name)
    try:
        prefix = _prefix_of(names, network)
        if prefix is not None:
            network.load_state_dict({name.removeprefix(prefix): one for name, one in load_file(file).items()})
        else:
            pipeline = _in_authors_layout(file, names, base, pipeline, network_name=network_name, dtype=dtype)
    except (LookupError, TypeError, AttributeError, SingleFileComponentError) as error:
        raise unloadable(file, _not_of(network)) from error
    except NotImplementedError as error:  # by diffusers, for weights without numbers
        raise unloadable(file, ValueError("some of its weights are missing")) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise unloadable(file, error) from error
    check_whole(pipeline, file)
    return pipeline


def _prefix_of(names: list[str], network: nn.Module) -> str | None:
    """What stands before diffusers' names in the file; None where its names are others, or not these alone."""
    wanted = set(network.state_dict())
    return next((prefix for prefix in PREFIXES if {prefix + name for name in wanted} == set(names)), None)


def _in_authors_layout(
    file: Path, names: list[str], base: Path, pipeline: Any, *, network_name: str, dtype: torch.dtype
) -> Any:
    """The pipeline of base, its network and whatever else the file holds read from there."""
    kind, network = type(pipeline), type(getattr(pipeline, network_name))
    told: dict[str, Any] = {"config": str(base), "torch_dtype": dtype, "local_files_only": True}
    if network.__name__ in SAME_NAMES or not hasattr(network, "from_single_file"):
        raise ModelError(
            f"The model in {file} cannot be loaded: its weights do not have the names that {network.__name__} has in "
            "diffusers, and of this family no others are known. Name a file that has them, or a diffusers folder."
        )
    if not hasattr(kind, "from_single_file"):
        pipeline.register_modules(**{network_name: network.from_single_file(str(file), subfolder=network_name, **told)})
        return pipeline
    held = {network_name} | {part for part, starts in HELD.items() if any(name.startswith(starts) for name in names)}
    rest = {name: part for name, part in pipeline.components.items() if name not in held}
    return kind.from_single_file(str(file), **told, **rest)


def _not_of(network: nn.Module) -> ValueError:
    return ValueError(f"its weights are not those of {type(network).__name__}")


def _names(file: Path) -> list[str]:
    """The names of the file's weights."""
    if file.suffix != ".safetensors":
        raise ModelError(
            f"{file} is not a safetensors file. Other files may be pickles, which could run any program when opened, "
            "and are not read. Convert it to safetensors, or choose another copy of the model."
        )
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise unloadable(file, error) from error
