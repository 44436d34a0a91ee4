"""What people said of a run's groups, from the store to scores that the trainer understands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from app.store.reader import Reader
from app.store.rows import LabelRow
from dgpo_core.events import Event, Warned
from dgpo_core.human_turn import People
from dgpo_core.label import label_from_row
from dgpo_core.rewards.label_scores import Scores, merged, scores_of
from dgpo_core.rewards.reliability import Match, Opinion, matches, qualities, weight_of


def people_of(reader: Reader, run_id: int, emit: Callable[[Event], None] | None = None) -> People:
    """The labels of a run's steps, read anew at every question; of a group with several people their mean, each
    brought to mean 0 and spread 1 and weighted by how far they may be believed (dgpo_core/rewards/reliability.py).

    emit is for a run that waits: it hears of a group that can be labelled no more, which then has no scores to wait
    for."""
    crowd = Crowd()
    seen: list[int] = []
    unlabelled = _Unlabelled(reader, run_id, emit) if emit else None

    def labelled(step: int) -> Mapping[int, Scores]:
        rows = reader.labels_of_step(run_id, step)
        if seen != [row.id for row in rows]:
            seen[:] = [row.id for row in rows]
            crowd.hear(row for row in reader.labels_of_run(run_id) if row.step <= step)
        said = {rows[0].group_index: crowd.merged(rows) for rows in by_task(rows).values()}
        return said if unlabelled is None else said | unlabelled.lost_beside(said, step)

    return labelled


class _Unlabelled:
    """The groups of the step in hand that nobody labelled before a picture of theirs was lost, each said once."""

    def __init__(self, reader: Reader, run_id: int, emit: Callable[[Event], None]) -> None:
        self._reader, self._run_id, self._emit = reader, run_id, emit
        self._step: int | None = None
        self._told: set[tuple[int, int]] = set()

    def lost_beside(self, said: Mapping[int, Scores], step: int) -> dict[int, Scores]:
        """Scores of None for every such group beside those of which something was said."""
        if step != self._step:
            self._step = step  # the step may be on its way to the store yet, with the pictures that an earlier try lost
            return {}
        known = self._reader.lost_of_step(self._run_id, step)
        lost = {index: gone for index, gone in known.items() if index not in said}
        for index, gone in lost.items():
            if (step, index) not in self._told:
                self._told.add((step, index))
                message = f"{lost_in_words(gone, index, step)} Nobody can label it any more, so it is not waited for."
                self._emit(Warned(step=step, message=message))
        return {index: [None] * len(gone) for index, gone in lost.items()}


def lost_in_words(is_lost: Sequence[bool], group_index: int, step: int) -> str:
    """Which pictures of a group are gone, as a sentence."""
    lost = [f"{member}" for member, is_gone in enumerate(is_lost, start=1) if is_gone]
    which = f"Picture {lost[0]} is" if len(lost) == 1 else f"Pictures {', '.join(lost)} are"
    return f"{which} gone from the store, of group {group_index + 1} of step {step}."


class Crowd:
    """The raters of a run, and how far each may be believed by what was heard so far."""

    def __init__(self) -> None:
        self._heard: list[int] = []
        self._quality: dict[str, float] = {}
        self._matches: dict[int, tuple[list[int], list[Match]]] = {}

    def hear(self, rows: Iterable[LabelRow]) -> None:
        """Takes all labels of the run as they are now; what was compared before is not compared again."""
        rows = list(rows)
        ids = [row.id for row in rows]
        if ids == self._heard:
            return
        self._heard = ids
        found: list[Match] = []
        for group, together in by_group(rows).items():
            heard = [row.id for row in together]
            if self._matches.get(group, ([], []))[0] != heard:
                self._matches[group] = heard, matches(Opinion(row.rater, group, scores_in(row)) for row in together)
            found += self._matches[group][1]
        self._quality = qualities({row.rater for row in rows}, found)

    def merged(self, rows: Sequence[LabelRow]) -> Scores:
        """One score per picture of what was said of one group by raters who were heard; none where all of them say
        the opposite of the others elsewhere."""
        weights = self.weights(rows)
        if len(rows) == 1 and weights[0] > 0:
            return scores_in(rows[0])
        return merged([scores_in(row) for row in rows], weights)

    def weights(self, rows: Sequence[LabelRow]) -> list[float]:
        """How much each of these labels counts; their raters were heard."""
        return [weight_of(self._quality[row.rater]) for row in rows]


def scores_in(row: LabelRow) -> Scores:
    """A label's scores in the order of the group as it was first posted."""
    scores = scores_of(label_from_row(row.kind, row.body, row.size), row.size)
    if row.places is None:
        return scores
    ordered: Scores = [None] * row.size
    for score, place in zip(scores, row.places, strict=True):
        ordered[place] = score
    return ordered


def by_task(rows: Iterable[LabelRow]) -> dict[int, list[LabelRow]]:
    """Labels by the group they were given to, repeats apart from what they repeat."""
    found: defaultdict[int, list[LabelRow]] = defaultdict(list)
    for row in rows:
        found[row.task_id].append(row)
    return found


def by_group(rows: Iterable[LabelRow]) -> dict[int, list[LabelRow]]:
    """Labels by the group as it was first posted, repeats with what they repeat."""
    found: defaultdict[int, list[LabelRow]] = defaultdict(list)
    for row in rows:
        found[row.repeat_of or row.task_id].append(row)
    return found
