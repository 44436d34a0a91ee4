"""Which settings the page hands over for the memory of a run: all that its estimate reads."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from app.ui.train_requests import MEMORY_SETTINGS
from dgpo_core.assembly import expected_memory
from dgpo_core.config import from_dict


class Noting:
    """A config, or a section of one, that notes which settings are read of it."""

    def __init__(self, section, read, prefix=""):
        self._section, self._read, self._prefix = section, read, prefix

    def __getattr__(self, name):
        value = getattr(self._section, name)
        if is_dataclass(value):
            return Noting(value, self._read, f"{self._prefix}{name}.")
        if name not in {one.name for one in fields(self._section)}:
            return getattr(type(self._section), name).fget(self)
        self._read.add(self._prefix + name)
        return value


KINDS = [
    {},
    {"model": {"trained": "all_weights"}, "update": {"per_sigma": False}},
    {"rollout": {"sampler": "flow_sde", "group_size": 64}},
    {"reward": {"train": "clipscore + vlm_judge + preference", "models_folder": "nowhere"}},
    {"reward": {"watch": "geneval, imagereward", "models": "offload"}, "people": {"clip_folder": "nowhere"}},
]
"""Runs that take different ways through the estimate."""


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_page_hands_over_every_setting_that_the_memory_estimate_reads(changes, model_folder):
    config = from_dict(changes | {"model": {"folder": str(model_folder)} | changes.get("model", {})})
    read = set()
    expected_memory(Noting(config, read), Path())
    assert {"model.folder", "reward.train", "update.micro_batch"} <= read
    assert read - set(MEMORY_SETTINGS) == set()
