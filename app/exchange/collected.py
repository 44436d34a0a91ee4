"""A run's groups with their rewards and all that people said of them, as they lie in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.people import Crowd, by_task, scores_in
from app.store.reader import Reader
from app.store.rows import GroupRow, LabelRow, LabelTaskRow
from dgpo_core.rewards.label_scores import Scores, merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture by its SHA-256; a reward of None is no opinion, a seed of None is not known."""

    sha: str
    reward: float | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group, its samples in the order of its members; said is what its labels come to, None without any that count.

    place is the path that tells it from every other group of an export.
    """

    place: str
    step: int
    index: int
    prompt: str
    samples: tuple[Sample, ...]
    labels: tuple[LabelRow, ...]
    said: Scores | None

    @property
    def preference(self) -> Scores:
        """How good each picture is found: by people where there are labels, else by its reward."""
        return [sample.reward for sample in self.samples] if self.said is None else self.said

    @property
    def label_lines(self) -> list[dict[str, Any]]:
        """The labels as plain values: rater, kind, body, seconds, created."""
        return [
            {"rater": one.rater, "kind": one.kind, "body": one.body, "seconds": one.seconds, "created": one.created}
            for one in self.labels
        ]


def groups_of(reader: Reader, run_id: int, *, below: str = "") -> Iterator[Group]:
    """Groups in the order of their steps: those that were trained on, and those that only people have judged.

    The place of each is step/index, with the text `below` in front.

    The reward of a group that was never trained on is what people said of it, each brought to mean 0 and spread 1, and
    weighted by how far they may be believed after all labels of the run. What was said of groups asked again counts for
    that alone.
    """
    tasks: defaultdict[int, dict[int, LabelTaskRow]] = defaultdict(dict)
    for task in reader.label_tasks(run_id):
        tasks[task.step][task.group_index] = task
    labels = _Labels(reader.labels_of_run(run_id))
    last = reader.latest_step(run_id)
    for step in sorted({*tasks, *range(0 if last is None else last + 1)}):
        trained = {group.index: group for group in reader.groups(run_id, step)}
        for index in sorted({*trained, *tasks[step]}):
            rows = labels.of(tasks[step].get(index))
            said = labels.said(rows)
            source = trained.get(index) or tasks[step][index]
            yield Group(
                place=f"{below}{step}/{index}",
                step=step,
                index=index,
                prompt=source.prompt,
                samples=_trained(source) if isinstance(source, GroupRow) else _judged(source, said),
                labels=rows,
                said=said,
            )


class _Labels:
    """A run's labels by their groups, and what those of one group come to."""

    def __init__(self, rows: Sequence[LabelRow]) -> None:
        self._crowd = Crowd()
        self._crowd.hear(rows)
        self._by_task = by_task(rows)

    def of(self, task: LabelTaskRow | None) -> tuple[LabelRow, ...]:
        return () if task is None else tuple(self._by_task.get(task.id, ()))

    def said(self, rows: Sequence[LabelRow]) -> Scores | None:
        scores = merged([scores_in(row) for row in rows], self._crowd.weights(rows))
        return scores if any(score is not None for score in scores) else None


def _trained(group: GroupRow) -> tuple[Sample, ...]:
    by_member = sorted(group.samples, key=lambda one: one.member)
    return tuple(Sample(sha=one.sha, reward=one.reward, seed=one.seed) for one in by_member)


def _judged(task: LabelTaskRow, said: Scores | None) -> tuple[Sample, ...]:
    rewards = said or [None] * len(task.shas)
    return tuple(Sample(sha=sha, reward=reward, seed=None) for sha, reward in zip(task.shas, rewards, strict=True))
