"""What people said of a run's groups, from the store to scores that the trainer understands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from app.store.reader import Reader
from dgpo_core.human_turn import People
from dgpo_core.label import label_from_row
from dgpo_core.rewards.label_scores import Scores, merged, scores_of


def people_of(reader: Reader, run_id: int) -> People:
    """The labels of a run's steps, read anew at every question; of a group with several people their mean, each
    brought to mean 0 and spread 1."""

    def labelled(step: int) -> Mapping[int, Scores]:
        said: defaultdict[int, list[Scores]] = defaultdict(list)
        for row in reader.labels_of_step(run_id, step):
            said[row.group_index].append(scores_of(label_from_row(row.kind, row.body, row.size), row.size))
        return {index: merged(scores, [1.0] * len(scores)) for index, scores in said.items()}

    return labelled
