"""The Compare and Runs tabs in a real Chromium, over a store that the real Writer filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import exp
from pathlib import Path

import pytest
from app.lab import Lab
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.events import (
    CheckpointSaved,
    Command,
    ComparisonDone,
    EndReason,
    EvaluationDone,
    Examined,
    Phase,
    PhaseChanged,
    RunEnded,
    RunFailed,
    RunStarted,
    StepDone,
    StepMetrics,
    Warned,
)
from PIL import Image, ImageDraw

HOSTILE = "a cat ${alert(1)} {{value}} <img src=x onerror=alert(1)> `\u202e"
CATEGORIES = ("single", "two", "counting", "colors", "position", "attribution")
NUM_STEPS = 40


@dataclass
class StoreActions:
    """The lab's actions without a trainer: what only writes is written, what needs one is noted."""

    writer: Writer

    def __post_init__(self) -> None:
        self.resumed: list[int] = []

    def start(self, config: RunConfig) -> int:
        return self.writer.create_run(to_dict(config), config.schedule.num_steps)

    def resume(self, run_id: int) -> int:
        self.writer.resume_run(run_id)
        self.resumed.append(run_id)
        return run_id

    def send(self, run_id: int, command: Command) -> None:
        self.writer.send(run_id, command)

    def request_comparison(self, run_id: int, step: int | None, num_prompts: int, seed: int) -> int:
        return self.writer.request_comparison(run_id, step, num_prompts, seed)

    def set_notes(self, run_id: int, text: str) -> None:
        self.writer.set_notes(run_id, text)

    def rename(self, run_id: int, name: str) -> None:
        self.writer.rename(run_id, name)

    def delete(self, run_id: int) -> None:
        self.writer.delete_run(run_id)


def png(shape: str, colour: str, *, blurred: bool = False) -> bytes:
    picture = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(picture)
    box = (14, 14, 50, 50)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(32, 12), (12, 52), (52, 52)], fill=colour)
    if blurred:
        picture = picture.resize((16, 16)).resize((64, 64))
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def metrics(step: int) -> StepMetrics:
    gain = 1 - exp(-step / 12)
    return StepMetrics(
        reward_mean=0.5 + 0.4 * gain,
        reward_std=0.2,
        preference_fraction=0.9 - 0.3 * gain,
        gate=0.5 - 0.1 * gain,
        clipped_fraction=0.1 * gain,
        kl=0.01 * gain,
        velocity_error=0.3,
        grad_norm=1.0,
        sampling_seconds=1.8,
        decoding_seconds=0.2,
        scoring_seconds=0.1,
        updating_seconds=3.5,
        other_seconds=0.1,
        step_seconds=5.7,
    )


def examined(index: int, *, side: str) -> Examined:
    """Picture `index` of a comparison of 30: most get better, each tenth worse, each thirteenth has no score."""
    shape, colour = ("circle", "square", "triangle")[index % 3], ("crimson", "royalblue", "seagreen")[index % 3]
    was_right, is_right = index % 3 == 0, index % 10 != 0
    score = float(was_right if side == "before" else is_right)
    prompt = HOSTILE if index == 1 else f"a {colour} {shape} on white, number {index}"
    return Examined(
        prompt=prompt,
        category=CATEGORIES[index % len(CATEGORIES)],
        seed=1000 + index,
        score=None if index % 13 == 12 else score,
        details=f"found a {colour} {shape}" if score else "missed the colour",
        png=png(shape, colour if score else "goldenrod", blurred=side == "before"),
    )


def comparison(request_id: int, num: int = 30) -> ComparisonDone:
    sides = {side: tuple(examined(i, side=side) for i in range(num)) for side in ("before", "after")}
    return ComparisonDone(request_id=request_id, step=NUM_STEPS, before=sides["before"], after=sides["after"])


def fill_run(writer: Writer, config: RunConfig, num_steps: int) -> int:
    """A run of synthetic steps with examinations and checkpoints; it is left running."""
    run_id = writer.create_run(to_dict(config), NUM_STEPS)
    writer.record(run_id, RunStarted(first_step=0, num_steps=NUM_STEPS, num_trainable=1000))
    for step in range(num_steps):
        if step % 10 == 0:
            pictures = tuple(examined(i, side="after") for i in range(6))
            quality = (("edge_sharpness", 0.8), ("palette_purity", 0.9))
            score = 0.6 + 0.008 * step
            writer.record(
                run_id, EvaluationDone(step=step, policy="averaged", score=score, quality=quality, samples=pictures)
            )
            writer.record(run_id, CheckpointSaved(step=step, folder=f"runs/{run_id}/{step}", num_bytes=5_400_000))
        writer.record(run_id, StepDone(step=step, groups=(), metrics=metrics(step)))
    return run_id


def filled(writer: Writer) -> None:
    """A finished run with a comparison, a failed one, and a live one with a hostile name."""
    first = fill_run(writer, RunConfig(name="first try"), NUM_STEPS)
    writer.record(first, RunEnded(step=NUM_STEPS - 1, reason=EndReason.FINISHED))
    writer.record(first, comparison(writer.request_comparison(first, 30, 30, 0)))
    writer.set_notes(first, "The reward still rises at the end.")
    failing = from_dict({"name": "higher rate", "update": {"learning_rate": 1e-3}, "loss": {"kl_weight": 0.1}})
    second = fill_run(writer, failing, 25)
    writer.record(second, Warned(step=20, message="The gradient norm is ten times its median."))
    writer.record(second, RunFailed(step=24, message="The loss is not finite. Lower the learning rate.", details="Traceback\n  loss.py"))
    third = fill_run(writer, RunConfig(name="<b>bold</b> ${x} run"), 15)
    writer.record(third, PhaseChanged(step=15, phase=Phase.SAMPLING, done=3, total=8))
    writer.flush()
