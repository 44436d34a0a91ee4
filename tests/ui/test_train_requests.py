"""Memory beside the form: which settings are handed over for its estimate, and what a run with them took."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from conftest import start_run

from app.ui.runs_views import flattened
from app.ui.train_requests import MEMORY_SETTINGS, memory_of, memory_taken
from dgpo_core.assembly import expected_memory
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.events import MemoryTaken


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


def taken(step, gigabytes):
    return MemoryTaken(step=step, taken=gigabytes * 10**9, pool=gigabytes * 10**9, expected=9 * 10**9)


def test_what_a_run_with_the_same_settings_took_stands_beside_the_estimate(lab, writer):
    flat = flattened(to_dict(RunConfig()))
    form = [flat[path] for path in MEMORY_SETTINGS]
    assert memory_of(lab, form) == ""
    for gigabytes in (8, 10):
        run_id = start_run(writer, 1, name="of old")
        for event in (taken(0, 1), taken(1, gigabytes)):
            writer.record(run_id, event)
    start_run(writer, 1, name="says nothing")
    writer.flush()
    assert memory_of(lab, form) == f"of old (run {run_id}), with these settings: {taken(1, 10).in_words()}"
    other = from_dict({"update": {"micro_batch": 7}})
    assert memory_taken(lab.reader, other) == ""
