"""Trials of rewards as plain values: what was tried, how it went, the numbers, and how they are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.store.rows import RunRow, TrialPictureRow, TrialRow
from app.ui.runs_views import clock
from app.ui.serving import picture_url
from app.ui.table import NOTHING, Column, table
from dgpo_core.reward_names import REWARD_FACTS

NUM_BINS = 10
WIDEST_BAR = 24
NO_TRIAL = "No reward was tried yet. Choose one, give it pictures and a prompt, or a group of a run, and press Try."


def trial_choices(trials: Sequence[TrialRow]) -> list[tuple[str, int]]:
    """Trials as dropdown entries, newest first."""
    return [(f"{one.reward} · {one.prompt[:50] or 'no prompt'} · {clock(one.created)}", one.id) for one in trials]


def run_choices(runs: Sequence[RunRow]) -> list[tuple[str, int]]:
    """Runs with a step to take a group from."""
    return [(f"{run.name} (run {run.id}, {run.step + 1} steps)", run.id) for run in runs if run.step >= 0]


def facts_of(reward: str) -> str:
    """What a reward measures, between which values, and what it needs; a mixture and one's own say so."""
    facts = REWARD_FACTS.get(reward)
    if facts is None:
        return (
            "A mixture, or your own reward. Its numbers have no documented range; a mixture's lie around 0 in a group."
        )
    lines = [f"Measures {facts.about}. Range: {facts.range}; higher is better."]
    if facts.install:
        lines.append(f"Needs: {facts.install}")
    if facts.weights:
        lines.append(f"Loads {facts.weights} unless a server is given for it.")
    return "\n".join(lines)


def heading(trial: TrialRow, pictures: Sequence[TrialPictureRow], *, is_labelled: bool = False) -> str:
    """How a trial went, one line each: the self-test first. is_labelled: its group has labels by now."""
    if trial.message:
        return f"This trial failed: {trial.message}"
    if not trial.is_done:
        return "The reward is being loaded and tried; the first time may take a while."
    known = [one.reward for one in pictures if one.reward is not None]
    lines = [f"Self-test {'passed' if trial.passed else 'FAILED'}: {trial.self_test}."]
    if known:
        mean = sum(known) / len(known)
        lines.append(
            f"{len(known)} of {len(pictures)} pictures judged: {min(known):.4g} to {max(known):.4g}, mean {mean:.4g}."
        )
    else:
        lines.append(f"No opinion on any of {len(pictures)} pictures.")
    if trial.run_id is not None:
        lines.append(_agreement(trial, is_labelled))
    return "\n".join(lines)


def _agreement(trial: TrialRow, is_labelled: bool) -> str:
    place = f"Group {trial.group_index} of step {trial.step} of run {trial.run_id}, “{trial.prompt[:80]}”"
    if trial.agreement is not None:
        return f"{place}: agreement with people's labels (Kendall's tau, -1 to 1) {trial.agreement:.2f}."
    if not is_labelled:
        return f"{place}: nobody labelled it, so agreement with people is not known."
    return (
        f"{place}: its labels and this reward cannot be compared: one of them puts no picture before another, or the "
        "labels came after this trial."
    )


def tried(pictures: Sequence[TrialPictureRow]) -> dict[str, Any] | None:
    """The pictures, best first, no opinion last; None for none."""
    ranked = sorted(pictures, key=lambda one: (one.reward is None, -(one.reward or 0.0), one.place))
    entries = [{"url": picture_url(one.sha), "reward": one.reward, "words": _words(one)} for one in ranked]
    return {"pictures": entries} if entries else None


def _words(picture: TrialPictureRow) -> str:
    terms = ", ".join(f"{name} {value:.3g}" for name, value in picture.terms) if len(picture.terms) > 1 else ""
    return ". ".join(filter(None, (picture.details, terms)))


def histogram(pictures: Sequence[TrialPictureRow]) -> dict[str, Any]:
    """How many pictures fall into each of ten equal ranges from the lowest reward to the highest."""
    known = [one.reward for one in pictures if one.reward is not None]
    rows = list(enumerate(_bins(known)))
    columns = [
        Column("from", is_number=True),
        Column("to", is_number=True),
        Column("pictures", is_number=True),
        Column(""),
    ]
    return table(columns, rows, empty="No picture has a reward.", caption="How the rewards are spread")


def _bins(values: Sequence[float]) -> list[list[str]]:
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [[f"{low:.4g}", f"{high:.4g}", str(len(values)), "█" * WIDEST_BAR]]
    width = (high - low) / NUM_BINS
    counts = [0] * NUM_BINS
    for value in values:
        counts[min(NUM_BINS - 1, int((value - low) / width))] += 1
    return [
        [
            f"{low + index * width:.4g}",
            f"{low + (index + 1) * width:.4g}",
            str(count) if count else NOTHING,
            "█" * round(WIDEST_BAR * count / max(counts)),
        ]
        for index, count in enumerate(counts)
    ]
