"""What is known of a run's raters and of what was learned from them, as plain values for the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.store.rows import AgreementRow, PreferenceRow, RaterRow, RunRow
from app.ui.table import NOTHING, Column, table

NO_LABELS = (
    "No label yet. Set People's share of the reward above 0 before Start, and label groups at /label; this page then "
    "says how steady people are, whom and which reward they agree with, and what was learned from them."
)
WHAT_TAU_IS = (
    "Agreement is Kendall's tau: 1 the same order, 0 no relation, -1 the opposite order; the mean over groups, whose "
    "number stands in brackets."
)
LEAST_FOR_CALIBRATION = 30


def heading(run: RunRow | None, raters: Sequence[RaterRow]) -> str:
    """Whose run it is, how many labels, and how to read the numbers."""
    if run is None or not raters:
        return NO_LABELS
    num_labels = sum(rater.num_labels for rater in raters)
    people = "one person" if len(raters) == 1 else f"{len(raters)} people"
    labels = "1 label" if num_labels == 1 else f"{num_labels} labels"
    return f"{run.name} (run {run.id}): {labels} by {people}.\n{WHAT_TAU_IS}"


def rater_table(raters: Sequence[RaterRow], agreements: Sequence[AgreementRow]) -> dict[str, Any]:
    """One row per person: labels, time, steadiness, agreement with the others and with each automatic reward."""
    rewards = _rewards(agreements)
    columns = [
        Column("person"),
        *(
            Column(label, is_number=True)
            for label in ("labels", "seconds each", "asked again", "with themselves", "with others", *rewards)
        ),
    ]
    rows = []
    for index, rater in enumerate(raters):
        own = [row for row in agreements if row.name == rater.rater]
        rows.append(
            (
                index,
                [
                    rater.rater,
                    str(rater.num_labels),
                    NOTHING if rater.seconds_per_label is None else f"{rater.seconds_per_label:.1f}",
                    str(rater.num_repeats),
                    _mean([row for row in own if row.kind == "self"]),
                    _mean([row for row in own if row.kind == "person"]),
                    *(_mean([row for row in own if row.kind == "reward" and row.other == name]) for name in rewards),
                ],
            )
        )
    return table(columns, rows, empty="Nobody has labelled a group of this run.", caption="Agreement of each person")


def prompt_table(agreements: Sequence[AgreementRow]) -> dict[str, Any]:
    """One row per prompt: agreement of people with themselves, each other and each automatic reward."""
    rewards = _rewards(agreements)
    names = dict.fromkeys(row.name for row in agreements)
    columns = [
        Column("prompt"),
        *(Column(label, is_number=True) for label in ("with themselves", "among people", *rewards)),
    ]
    rows = []
    for index, name in enumerate(names):
        own = [row for row in agreements if row.name == name]
        kinds = [[row for row in own if row.kind == kind] for kind in ("self", "person")]
        of_rewards = [[row for row in own if row.kind == "reward" and row.other == reward] for reward in rewards]
        rows.append((index, [name, *map(_mean, [*kinds, *of_rewards])]))
    return table(columns, rows, empty="No agreement is known yet.", caption="Agreement on each prompt")


def preference_table(versions: Sequence[PreferenceRow]) -> dict[str, Any]:
    """One row per version of the model learned from labels, newest first."""
    columns = [
        Column("version"),
        *(
            Column(label, is_number=True)
            for label in ("before step", "labels", "groups", "pairs right, held out", "calibration error", "pairs")
        ),
        Column("sure of a pair: right"),
    ]
    rows = [(row.version, _version(row)) for row in reversed(versions)]
    return table(
        columns,
        rows,
        empty="Nothing is learned yet: four labelled groups with a preference are needed.",
        caption="The model learned from labels, version by version",
    )


def _version(row: PreferenceRow) -> list[str]:
    num_pairs = sum(count for _, _, count in row.bins)
    shown = [f"{sure:.0%}: {right:.0%}" for sure, right, count in row.bins if count >= LEAST_FOR_CALIBRATION]
    return [
        row.folder,
        str(row.step),
        str(row.num_labels),
        str(row.num_groups),
        NOTHING if row.accuracy is None else f"{row.accuracy:.3f}",
        NOTHING if row.calibration_error is None else f"{row.calibration_error:.3f}",
        str(num_pairs),
        ", ".join(shown) or NOTHING,
    ]


def _rewards(agreements: Sequence[AgreementRow]) -> list[str]:
    """Names of the automatic rewards that are compared, in the order of the alphabet."""
    return sorted({row.other for row in agreements if row.kind == "reward"})


def _mean(rows: Sequence[AgreementRow]) -> str:
    """Mean tau over the groups of all rows, and their number."""
    count = sum(row.count for row in rows)
    return f"{sum(row.tau * row.count for row in rows) / count:+.2f} ({count})" if count else NOTHING
