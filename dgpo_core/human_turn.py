"""The people's turn in a step: groups are posted, labels waited for, and both judges made one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dgpo_core.config import PeopleConfig
from dgpo_core.data.pictures import png_bytes
from dgpo_core.events import Event, GroupsClosed, GroupsPosted, PostedGroup
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.label_scores import Scores, merged
from dgpo_core.rollout import Rollout

People = Callable[[int], Mapping[int, Scores]]
"""What people have said of a step's groups so far: scores by the group's index, only of groups with a label."""
SECONDS_BETWEEN_LOOKS = 0.2
WITHOUT_LABEL = {"reward": "The others count by their automatic reward.", "skip": "The others were left out."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What a turn is handed: who hears it, who may stop it, and a clock."""

    emit: Callable[[Event], None]
    look: Callable[[int, int], None]
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def labels_of(rollout: Rollout, people: People, config: PeopleConfig, *, step: int, seams: Seams) -> dict[int, Scores]:
    """Posts the groups of a step and waits for labels; scores by group of those that have one when the wait is over.

    seams.look(groups labelled, groups) is called while waiting and may raise to stop.
    """
    size, num_groups = len(rollout.pictures) // len(rollout.prompts), len(rollout.prompts)
    pngs = [png_bytes(picture) for picture in rollout.pictures]
    posted = [
        PostedGroup(index, prompt, tuple(pngs[index * size : (index + 1) * size]))
        for index, prompt in enumerate(rollout.prompts)
    ]
    seams.emit(GroupsPosted(step=step, groups=tuple(posted)))
    started = seams.clock()
    while True:
        labelled = dict(people(step))
        seams.look(len(labelled), num_groups)
        is_late = config.wait_seconds > 0 and seams.clock() - started >= config.wait_seconds
        if len(labelled) >= num_groups or is_late:
            break
        seams.wait(SECONDS_BETWEEN_LOOKS)
    rest = WITHOUT_LABEL[config.without_label]
    seams.emit(GroupsClosed(step=step, num_groups=num_groups, num_labelled=len(labelled), rest=rest))
    return labelled


def needs_reward(config: PeopleConfig, num_labelled: int, num_groups: int) -> bool:
    """Whether the automatic reward counts anywhere in a step."""
    return config.weight < 1 or (num_labelled < num_groups and config.without_label == "reward")


def joined(
    rollout: Rollout, labelled: Mapping[int, Scores], automatic: list[Judgement] | None, config: PeopleConfig
) -> list[Judgement]:
    """One judgement per picture: people's and the reward's, each brought to mean 0 and spread 1 in its group, weighted.

    A group without a label has its automatic judgements, or none, as the settings say. automatic is None where
    needs_reward() said so.
    """
    size = len(rollout.pictures) // len(rollout.prompts)
    judgements: list[Judgement] = []
    for index in range(len(rollout.prompts)):
        own = automatic[index * size : (index + 1) * size] if automatic else [Judgement(None)] * size
        if index in labelled:
            judgements += _mixed(labelled[index], own, config.weight)
        else:
            judgements += own if config.without_label == "reward" else [Judgement(None)] * size
    return judgements


def _mixed(scores: Scores, automatic: list[Judgement], weight: float) -> list[Judgement]:
    mixed = merged([scores, [one.reward for one in automatic]], [weight, 1 - weight])
    found = []
    for score, said, own in zip(mixed, scores, automatic, strict=True):
        terms = (("people", said),) if said is not None else ()
        reward = (("reward", own.reward),) if own.reward is not None else ()
        found.append(Judgement(score, (*terms, *reward, *own.terms), own.details))
    return found
