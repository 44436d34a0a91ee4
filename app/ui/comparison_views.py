"""Comparisons as plain values: stored pictures in; pairs, words and tables for the page out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.statistics import PairedChange, paired_change
from app.store.rows import ComparisonRow, ExaminedRow
from app.ui.table import NOTHING, Column, table
from dgpo_core.events import Drawing

OVERALL = "all prompts"
MINUS = "\N{MINUS SIGN}"
SCORE_COLUMNS = (
    Column("Category"),
    Column("Pairs", is_number=True),
    Column("Before", is_number=True),
    Column("After", is_number=True),
    Column("Change", is_number=True),
    Column("95% interval", is_number=True),
    Column("Better", is_number=True),
    Column("Worse", is_number=True),
    Column("Same", is_number=True),
    Column("Sign test p", is_number=True),
)


class Verdict(StrEnum):
    """What became of a pair."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class Pair:
    """The same prompt and seed, drawn before and after."""

    before: ExaminedRow
    after: ExaminedRow

    @property
    def verdict(self) -> Verdict:
        before, after = self.before.score, self.after.score
        if before is None or after is None:
            return Verdict.UNSCORED
        if before == after:
            return Verdict.SAME
        return Verdict.BETTER if after > before else Verdict.WORSE


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs in the order they were drawn, and how many pictures found no partner."""

    pairs: tuple[Pair, ...]
    num_alone: int


def paired(rows: Iterable[ExaminedRow]) -> Pairing:
    """Pictures of one comparison joined by prompt and seed; repeats are joined in their order."""
    waiting: dict[tuple[str, int], list[ExaminedRow]] = {}
    rows = list(rows)
    for row in rows:
        if row.side == "after":
            waiting.setdefault((row.prompt, row.seed), []).append(row)
    pairs = []
    for row in rows:
        partners = waiting.get((row.prompt, row.seed))
        if row.side == "before" and partners:
            pairs.append(Pair(row, partners.pop(0)))
    return Pairing(tuple(pairs), num_alone=len(rows) - 2 * len(pairs))


def change_of(pairs: Iterable[Pair]) -> PairedChange | None:
    """The change over the pairs with both scores; None without any."""
    before, after = [], []
    for pair in pairs:
        if pair.before.score is not None and pair.after.score is not None:
            before.append(pair.before.score)
            after.append(pair.after.score)
    return paired_change(before, after)


def categories(pairs: Iterable[Pair]) -> list[str]:
    """Categories in the order of their first pair."""
    return list(dict.fromkeys(pair.before.category for pair in pairs))


def score_table(pairs: Sequence[Pair]) -> dict[str, Any]:
    """A row for all prompts and one per category; categories without a scored pair show dashes."""
    parts = [(OVERALL, list(pairs))]
    parts += [
        (name or "no category", [one for one in pairs if one.before.category == name]) for name in categories(pairs)
    ]
    rows = [(name, [name, *_cells(change_of(some))]) for name, some in parts] if pairs else []
    return table(SCORE_COLUMNS, rows, empty="This comparison holds no pairs.", caption="Scores before and after")


def _cells(change: PairedChange | None) -> list[str]:
    if change is None:
        return ["0", *[NOTHING] * (len(SCORE_COLUMNS) - 2)]
    return [
        str(change.num_pairs),
        f"{change.before_mean:.2f}",
        f"{change.after_mean:.2f}",
        signed(change.change),
        interval_text(change.interval),
        str(change.num_better),
        str(change.num_worse),
        str(change.num_same),
        chance_text(change.p_value),
    ]


def summary(pairing: Pairing, drawing: Drawing) -> str:
    """The outcome in plain words: counts, mean scores, how sure, what could not be counted, how it was drawn."""
    change = change_of(pairing.pairs)
    lines = [_outcome(change)] if change else ["No pair has a score on both sides, so nothing can be counted."]
    num_unscored = sum(pair.verdict is Verdict.UNSCORED for pair in pairing.pairs)
    if num_unscored and change:
        lines.append(f"{counted(num_unscored, 'pair')} not counted: a picture without a score.")
    if pairing.num_alone:
        lines.append(f"{counted(pairing.num_alone, 'picture')} left out: the other side is missing.")
    if drawn := drawing_in_words(drawing):
        lines.append(f"Both sides were drawn with {' and '.join(drawn)}.")
    return "\n".join(lines)


def drawing_in_words(drawing: Drawing) -> list[str]:
    """With what a comparison was drawn where that is not the run's own."""
    guidance, steps = drawing.guidance_scale, drawing.num_sampling_steps
    words = [] if guidance is None else [f"guidance {guidance:g}"]
    return words if steps is None else [*words, counted(steps, "sampling step")]


def _outcome(change: PairedChange) -> str:
    counts = f"{change.num_better} better, {change.num_worse} worse, {change.num_same} same."
    means = f"Mean score {change.before_mean:.2f} before, {change.after_mean:.2f} after: {signed(change.change)}"
    if change.interval is not None:
        means += f" (95% interval {interval_text(change.interval)})"
    return f"{counts} {means}. {_certainty(change)}"


def _certainty(change: PairedChange) -> str:
    if not change.num_better and not change.num_worse:
        return "No pair changed its score."
    if change.p_value < 0.05:
        words = "Chance alone would rarely split the changed pairs so unevenly"
    else:
        words = "Chance alone could well split the changed pairs like this"
    return f"{words} (sign test p {equation(chance_text(change.p_value))})."


def signed(value: float) -> str:
    """A change with its sign; what rounds to nothing has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


def interval_text(interval: tuple[float, float] | None) -> str:
    return NOTHING if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def chance_text(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def equation(text: str) -> str:
    """'= 0.031' or '< 0.001'."""
    return text if text.startswith("<") else f"= {text}"


def counted(num: int, noun: str) -> str:
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def gallery(comparison: ComparisonRow, pairing: Pairing) -> dict[str, Any]:
    """What the before/after component shows; user text travels as data and is drawn as text."""
    return {
        "id": comparison.id,
        "before_label": "before: the base",
        "after_label": f"after: {policy_name(comparison.step)}",
        "categories": categories(pairing.pairs),
        "pairs": [
            {
                "prompt": pair.before.prompt,
                "category": pair.before.category,
                "seed": str(pair.before.seed),
                "verdict": pair.verdict.value,
                "before": _picture(pair.before),
                "after": _picture(pair.after),
            }
            for pair in pairing.pairs
        ],
    }


def _picture(row: ExaminedRow) -> dict[str, str | None]:
    score = None if row.score is None else f"{row.score:.2f}"
    return {"sha": row.sha, "score": score, "details": row.details}


def policy_name(step: int | None) -> str:
    return "the policy as it was" if step is None else f"the policy at step {step}"
