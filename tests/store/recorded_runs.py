"""Events as a small run would emit them, for the tests of the store."""

from dataclasses import fields

from dgpo_core.events import Examined, ScoredGroup, ScoredSample, StepDone, StepMetrics

CONFIG = {"name": "first light", "seed": 3, "loss": {"preference_beta": 500.0}}


def picture(number):
    """Bytes that differ by number; the store never looks inside."""
    return b"\x89PNG\r\n" + f"picture {number}".encode() * 50


def metrics(value=0.5):
    """Metrics that differ by name and value."""
    return StepMetrics(**{one.name: value + number for number, one in enumerate(fields(StepMetrics))})


def step_done(step, *, num_groups=2, group_size=3, reward=0.0):
    """A whole step, every picture different."""
    groups = tuple(
        ScoredGroup(
            index=index,
            prompt=f"prompt {index}",
            samples=tuple(
                ScoredSample(
                    member=member,
                    seed=2**64 - 1 - member,
                    png=picture(f"{step}/{index}/{member}"),
                    reward=reward + member,
                    terms=(("shape", float(member)), ("colour", 0.25)),
                    advantage=member - 1.0,
                )
                for member in range(group_size)
            ),
            reward_mean=reward + 1.0,
            reward_std=0.8,
            gate=0.4,
            has_preference=True,
        )
        for index in range(num_groups)
    )
    return StepDone(step=step, groups=groups, metrics=metrics(reward))


def examined(number, *, category="colors", score=0.5, side=""):
    """One examined picture."""
    return Examined(
        prompt=f"prompt {number}",
        category=category,
        seed=number,
        score=score,
        details="found: a red circle",
        png=picture(f"{side}{number}"),
    )


def seen_steps(reader, run_id):
    """The steps a reader sees, each with its number of pictures that can be read."""
    return {
        row.step: sum(
            reader.picture(sample.sha) is not None
            for group in reader.groups(run_id, row.step)
            for sample in group.samples
        )
        for row in reader.steps(run_id)
    }
