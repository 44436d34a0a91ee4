"""What tests of several parts need: a small model on disk, and the same model loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of a Stable Diffusion 3 pipeline, small and untrained."""
    from small_model import save_small_pipeline

    return save_small_pipeline(tmp_path_factory.mktemp("model") / "small-sd3")


@pytest.fixture(scope="session")
def loaded_model(model_folder: Path):
    """The model of model_folder with a LoRA of rank 4, loaded once; take `model` instead."""
    from dgpo_core.models.sd3 import SD3Model

    return SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=0)


@pytest.fixture
def model(loaded_model) -> Iterator:
    """The loaded model with its LoRA as it was loaded, whatever other tests did to it."""
    import torch

    parameters = loaded_model.policy_parameters()
    fresh = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    yield loaded_model
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(fresh[name])
            parameter.grad = None
