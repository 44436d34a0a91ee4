"""A small store filled by the real Writer, and the lab over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_actions import StoreActions

from app.lab import Lab
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.live import Live
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.errors import StoreError
from dgpo_core.events import (
    Command,
    EvaluationDone,
    Examined,
    RunStarted,
    ScoredGroup,
    ScoredSample,
    StepDone,
    StepMetrics,
)

PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = "<script>alert(1)</script> ${alert(2)} {{value}} \u202e C:\\temp `x`"


class RememberingActions(StoreActions):
    """Runs here are not live, so what is asked of one is only remembered; a second start is refused."""

    def start(self, config: RunConfig) -> int:
        if self.started:
            raise StoreError("A run is live already. Stop it first.")
        return super().start(config)

    def resume(self, run_id: int) -> int:
        self.resumed.append(run_id)
        return run_id

    def send(self, run_id: int, command: Command) -> None:
        self.sent.append((run_id, command))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(tmp_path / "lab.db") as opened:
        yield opened


@pytest.fixture
def reader(writer: Writer, tmp_path: Path) -> Iterator[Reader]:
    opened = Reader(tmp_path / "lab.db")
    yield opened
    opened.close()


@pytest.fixture
def lab(writer: Writer, reader: Reader, tmp_path: Path) -> Lab:
    actions = RememberingActions(writer)
    actions.reader = reader
    return Lab(Settings(folder=tmp_path), reader, actions)


def poll(live: Live, request: dict[str, Any]) -> dict[str, Any]:
    """What a page gets, read as it reads it."""
    return json.loads(live.poll(request))


def metrics(step: int, **changes: float) -> StepMetrics:
    values = {name: float(step) for name in StepMetrics.__dataclass_fields__} | {"step_seconds": 30.0 + step / 100}
    return StepMetrics(**(values | changes))


def step_done(step: int, prompt: str = "a red circle", **changes: float) -> StepDone:
    """A step with one group of three: preferred, dispreferred, and one without an opinion."""
    marks = ((0.25, -1.0), (None, 0.0), (0.75, 1.0))
    samples = tuple(
        ScoredSample(
            member=member,
            seed=2**62 + member,
            png=PNG + bytes([step % 256, member]),
            reward=reward,
            terms=(("colour", 0.5),) if reward is not None else (),
            advantage=advantage,
        )
        for member, (reward, advantage) in enumerate(marks)
    )
    group = ScoredGroup(
        index=0, prompt=prompt, samples=samples, reward_mean=0.5, reward_std=0.25, gate=0.5, has_preference=True
    )
    return StepDone(step=step, groups=(group,), metrics=metrics(step, **changes))


def evaluation(step: int, score: float = 0.5) -> EvaluationDone:
    samples = (Examined(prompt="a cat", category="single", seed=1, score=score, details="", png=PNG),)
    return EvaluationDone(step=step, policy="averaged", score=score, quality=(("sharpness", 0.5),), samples=samples)


def start_run(writer: Writer, num_steps: int = 0, name: str = "try", first_step: int = 0) -> int:
    """A live run with its first num_steps steps done."""
    run_id = writer.create_run(to_dict(RunConfig(name=name)), 600)
    writer.record(run_id, RunStarted(first_step=first_step, num_steps=600, num_trainable=10))
    for step in range(num_steps):
        writer.record(run_id, step_done(step))
    writer.flush()
    return run_id
