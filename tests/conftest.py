"""What tests of several parts need: a small model on disk, and the same model loaded."""

from __future__ import annotations

import gc
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

gc.disable()  # until all tests are collected: what importing makes is there to stay

hypothesis_settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("lab")  # a busy machine is no fault of the code

WHOLE = {"small_run", "small_families", "lab_folder"}
"""What a file of tests brings from these are whole runs, models of every family, and labs."""

MEMORY = Path("/dev/shm")
ROOM = 4_000_000_000
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    # Stores and checkpoints wait for the disk at every commit; the temporary folders of tests need not survive a crash.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Leaves the millions of objects of the libraries out of every later look for garbage."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Whatever trains whole runs, loads a model of every family or opens labs is slow, and no test of one unit."""
    for item in items:
        if _brings_wholes(item.path):
            item.add_marker(pytest.mark.slow)


@cache
def _brings_wholes(file: Path) -> bool:
    lines = file.read_text().splitlines()
    return any(line.startswith("from ") and line.split()[1] in WHOLE for line in lines)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of a Stable Diffusion 3 pipeline, small and untrained."""
    from small_model import save_small_pipeline

    return save_small_pipeline(tmp_path_factory.mktemp("model") / "small-sd3")


@pytest.fixture(scope="session")
def model_and_lora(model_folder: Path):
    """The model of model_folder with a LoRA of rank 4, loaded once, and a copy of the LoRA as it was loaded."""
    from dgpo_core.models.sd3 import SD3Model

    model = SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=0)
    return model, {name: parameter.detach().clone() for name, parameter in model.policy_parameters().items()}


@pytest.fixture(scope="session")
def loaded_model(model_and_lora):
    """The model, its LoRA as the last test left it; for fixtures that live longer than a test."""
    return model_and_lora[0]


@pytest.fixture
def model(model_and_lora):
    """The model with its LoRA as it was loaded, whatever other tests did to it."""
    import torch

    model, fresh = model_and_lora
    with torch.no_grad():
        for name, parameter in model.policy_parameters().items():
            parameter.copy_(fresh[name])
            parameter.grad = None
    return model
