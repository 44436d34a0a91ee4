"""Every family of models by the pipeline that its folder names, and the way from the settings to a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.flux import FluxModel
from dgpo_core.models.pipeline_folder import parts_of
from dgpo_core.models.pixart import PixArtModel
from dgpo_core.models.qwen_image import QwenImageModel
from dgpo_core.models.sana import SanaModel
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.models.source import found
from dgpo_core.models.unet import SDModel, SDXLModel
from dgpo_core.models.z_image import ZImageModel

FAMILIES: dict[str, type[DiffusersModel]] = {
    family.pipeline_class.__name__: family
    for family in (
        SD3Model,
        SDModel,
        SDXLModel,
        FluxModel,
        QwenImageModel,
        ZImageModel,
        SanaModel,
        PixArtModel,
    )
}


def family_of(folder: Path) -> type[DiffusersModel]:
    """The family of a diffusers folder.

    Raises:
        ModelError: it holds no pipeline, or one that cannot be trained.
    """
    name = parts_of(folder)["_class_name"]
    if name not in FAMILIES:
        raise ModelError(
            f"The model in {folder} is a {name}; what can be trained is {', '.join(FAMILIES)}. Choose another."
        )
    return FAMILIES[name]


def load(
    config: ModelConfig, *, seed: int, project: Path = Path(), device: str = "cpu", dtype: torch.dtype | None = None
) -> DiffusersModel:
    """The model of the settings in the adapter of its family, fresh; see DiffusersModel.from_folder.

    project is where relative folders are looked for too.

    Raises:
        ModelError: it is missing, incomplete, damaged, or of no family that can be trained.
    """
    folder, base = places(config, project)
    return family_of(base).from_folder(folder, config, seed=seed, device=device, dtype=dtype, base=base)


def places(config: ModelConfig, project: Path, fetch: Callable[[str], Path] | None = None) -> tuple[Path, Path]:
    """Where the model of the settings lies, and the diffusers folder that describes it, which is mostly the same.

    fetch gets what is a repository of the Hub, as in found().

    Raises:
        ModelError: it is a file of which nothing says what it is, or a repository that fetch cannot get.
    """
    folder = found(config.folder, project, fetch)
    if not os.path.isfile(folder):
        return folder, folder
    if not config.parts_from:
        raise ModelError(
            f"{folder} is one file, which says nothing of text encoders and tokenizers. Set model.parts_from to a "
            "folder or Hugging Face id of the same kind of model."
        )
    return folder, found(config.parts_from, project, fetch)
