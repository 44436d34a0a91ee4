"""A run's groups with their rewards and all that people said of them, as they lie in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from app.store.reader import Reader
from app.store.rows import GroupRow, LabelRow, LabelTaskRow
from dgpo_core.label import label_from_row
from dgpo_core.rewards.label_scores import Scores, merged, scores_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture by its SHA-256; a reward of None is no opinion, a seed of None is not known."""

    sha: str
    reward: float | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group, its samples in the order of its members."""

    step: int
    index: int
    prompt: str
    samples: tuple[Sample, ...]
    labels: tuple[LabelRow, ...]

    @property
    def preference(self) -> Scores:
        """How good each picture is found: by people where there are labels, else by its reward."""
        said = _said(self.labels)
        return [sample.reward for sample in self.samples] if said is None else said


def groups_of(reader: Reader, run_id: int) -> Iterator[Group]:
    """Groups in the order of their steps: those that were trained on, and those that only people have judged.

    The reward of a group that was never trained on is what people said of it, each brought to mean 0 and spread 1.
    """
    tasks: defaultdict[int, dict[int, LabelTaskRow]] = defaultdict(dict)
    for task in reader.label_tasks(run_id):
        tasks[task.step][task.group_index] = task
    last = reader.latest_step(run_id)
    for step in sorted({*tasks, *range(0 if last is None else last + 1)}):
        labels: defaultdict[int, list[LabelRow]] = defaultdict(list)
        for label in reader.labels_of_step(run_id, step):
            labels[label.group_index].append(label)
        trained = {group.index: group for group in reader.groups(run_id, step)}
        for index in sorted({*trained, *tasks[step]}):
            said = tuple(labels[index])
            yield _trained(trained[index], said) if index in trained else _judged(tasks[step][index], said)


def _trained(group: GroupRow, labels: tuple[LabelRow, ...]) -> Group:
    by_member = sorted(group.samples, key=lambda one: one.member)
    samples = tuple(Sample(sha=one.sha, reward=one.reward, seed=one.seed) for one in by_member)
    return Group(step=group.step, index=group.index, prompt=group.prompt, samples=samples, labels=labels)


def _judged(task: LabelTaskRow, labels: tuple[LabelRow, ...]) -> Group:
    rewards = _said(labels) or [None] * len(task.shas)
    samples = tuple(Sample(sha=sha, reward=reward, seed=None) for sha, reward in zip(task.shas, rewards, strict=True))
    return Group(step=task.step, index=task.group_index, prompt=task.prompt, samples=samples, labels=labels)


def _said(labels: tuple[LabelRow, ...]) -> Scores | None:
    scores = [scores_of(label_from_row(one.kind, one.body, one.size), one.size) for one in labels]
    return merged(scores, [1.0] * len(scores)) if scores else None
