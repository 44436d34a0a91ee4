"""A model in one safetensors file, the rest of its pipeline from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.pipeline_folder import load_pipeline, unloadable

WHOLE = ("cond_stage_model.", "conditioner.")
"""What names of weights begin with in a file that has the text encoders too."""
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

    Raises:
        ModelError: the file is no safetensors file, is damaged, a LoRA, or of another model than base.
    """
    names = _names(file)
    if any(mark in name for name in names for mark in LORA):
        raise ModelError(f"{file} is a LoRA and not a whole model. Name the model that it belongs to.")
    pipeline = load_pipeline(base, pipeline_class, config, dtype)
    network: nn.Module = getattr(pipeline, network_name)
    try:
        if set(names) == set(network.state_dict()):
            network.load_state_dict(load_file(file))
            return pipeline
        if not hasattr(pipeline_class, "from_single_file"):
            raise ValueError(f"its weights are not those of {type(network).__name__}")
        given = {} if any(name.startswith(WHOLE) for name in names) else dict(pipeline.components)
        given.pop(network_name, None)
        return pipeline_class.from_single_file(
            str(file), config=str(base), torch_dtype=dtype, local_files_only=True, **given
        )
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise unloadable(file, error) from error


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
