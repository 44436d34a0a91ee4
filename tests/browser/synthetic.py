"""A store filled by the real Writer with runs that look like real ones, and actions that only write."""

from __future__ import annotations

from io import BytesIO
from math import exp
from random import Random

from PIL import Image, ImageDraw

from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import (
    CheckpointSaved,
    EvaluationDone,
    Examined,
    Phase,
    PhaseChanged,
    Preview,
    RunStarted,
    ScoredGroup,
    ScoredSample,
    StepDone,
    StepMetrics,
)

HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{value}} \u202eright to left\u202c 🦊 `tick"
PROMPTS = (
    "a red circle",
    "two blue squares",
    "a green triangle above a yellow circle",
    "three purple squares",
    "an orange square left of a blue circle",
    HOSTILE,
)
CATEGORIES = ("single object", "two objects", "counting", "colors", "position", "color attribution")
COLOURS = ("crimson", "royalblue", "seagreen", "goldenrod", "purple", "darkorange")


def picture(random: Random) -> bytes:
    """A small PNG with one coloured shape."""
    image = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(image)
    x, y, size = random.randint(4, 28), random.randint(4, 28), random.randint(20, 32)
    shape = random.choice((draw.ellipse, draw.rectangle))
    shape((x, y, x + size, y + size), fill=random.choice(COLOURS))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def group(step: int, index: int, *, size: int = 16) -> ScoredGroup:
    """A group of pictures; every fifth group has no preference, and one picture of group 1 has no opinion."""
    random = Random(step * 1000 + index)
    has_preference = (step + index) % 5 != 0
    drawn = [round(min(1.0, max(0.0, random.gauss(0.5 + step / 200, 0.25))), 2) for _ in range(size)]
    rewards = drawn if has_preference else [1.0] * size
    mean = sum(rewards) / size
    std = (sum((reward - mean) ** 2 for reward in rewards) / size) ** 0.5
    samples = tuple(
        ScoredSample(
            member=member,
            seed=2**60 + step * 10_000 + index * 100 + member,
            png=picture(random),
            reward=None if (index, member) == (1, 3) else reward,
            terms=(("shape", min(1.0, reward + 0.1)), ("colour", reward)),
            advantage=(reward - mean) / std if std else 0.0,
        )
        for member, reward in enumerate(rewards)
    )
    return ScoredGroup(
        index=index,
        prompt=PROMPTS[index],
        samples=samples,
        reward_mean=mean,
        reward_std=std,
        gate=0.5 - 0.3 * min(1, step / 60) * index / 6,
        has_preference=has_preference,
    )


def metrics(step: int) -> StepMetrics:
    """Numbers of a run that learns."""
    random = Random(step)
    gain = 1 - exp(-step / 30)
    parts = [random.uniform(1.6, 2.0), 0.2, 0.1, random.uniform(3.2, 3.8), 0.1]
    return StepMetrics(
        reward_mean=0.5 + 0.4 * gain + random.gauss(0, 0.03),
        reward_std=0.25 - 0.1 * gain,
        preference_fraction=0.9 - 0.3 * gain,
        gate=0.5 - 0.1 * gain + random.gauss(0, 0.005),
        clipped_fraction=0.15 * gain * random.random(),
        kl=0.01 * gain,
        velocity_error=0.3,
        grad_norm=1 + random.random(),
        sampling_seconds=parts[0],
        decoding_seconds=parts[1],
        scoring_seconds=parts[2],
        updating_seconds=parts[3],
        other_seconds=parts[4],
        step_seconds=sum(parts),
        network_evaluations=2000.0,
    )


def step_done(step: int) -> StepDone:
    return StepDone(step=step, groups=tuple(group(step, index) for index in range(len(PROMPTS))), metrics=metrics(step))


def evaluation(step: int) -> EvaluationDone:
    """An examination whose score rises with the step."""
    random = Random(step)
    gain = 1 - exp(-step / 30)
    samples = tuple(
        Examined(
            prompt=f"{category} {i}",
            category=category,
            seed=i,
            score=float(random.random() < 0.4 + 0.5 * gain),
            details="",
            png=picture(random),
        )
        for category in CATEGORIES
        for i in range(4)
    )
    quality = (("edge_sharpness", 0.8 + 0.02 * gain), ("palette_purity", 0.95 - 0.02 * gain), ("frechet", 4.2 + gain))
    return EvaluationDone(step=step, policy="averaged", score=0.55 + 0.35 * gain, quality=quality, samples=samples)


def preview(step: int) -> Preview:
    random = Random(step)
    samples = tuple(
        Examined(prompt=prompt, category="", seed=7, score=None, details="", png=picture(random))
        for prompt in ("a red circle", HOSTILE)
    )
    return Preview(step=step, samples=samples)


def fill_live_run(writer: Writer, num_steps: int, config: RunConfig | None = None) -> int:
    """A run that is live after num_steps steps; returns its id."""
    config = config or RunConfig(name="shapes, first try")
    run_id = writer.create_run(to_dict(config), config.schedule.num_steps)
    writer.record(run_id, RunStarted(first_step=0, num_steps=config.schedule.num_steps, num_trainable=123_456))
    for step in range(num_steps):
        if step % 10 == 0:
            writer.record(run_id, evaluation(step))
        writer.record(run_id, step_done(step))
    writer.record(run_id, CheckpointSaved(step=num_steps - 1, folder=f"runs/{run_id}/{num_steps}", num_bytes=5_400_000))
    writer.record(run_id, preview(num_steps - 1))
    writer.record(run_id, PhaseChanged(step=num_steps, phase=Phase.SAMPLING, done=3, total=8))
    writer.flush()
    return run_id
