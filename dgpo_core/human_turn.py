"""The people's turn in a step: groups are posted, labels waited for, and the judges made one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from dgpo_core.config import PeopleConfig
from dgpo_core.data.pictures import png_bytes
from dgpo_core.events import Event, GroupsClosed, GroupsPosted, PostedGroup
from dgpo_core.preference.learned_reward import LearnedReward
from dgpo_core.rewards.contract import Judgement, judge
from dgpo_core.rewards.label_scores import Scores, merged
from dgpo_core.rollout import Rollout

People = Callable[[int], Mapping[int, Scores]]
"""What people have said of a step's groups so far: scores by the group's index, only of groups with a label.

Scores that are all None are of a group about which nothing that counts was said, or can be said any more.
"""
Preference = Callable[[int], LearnedReward | None]
"""The reward learned from the labels of all steps before one; None while they are too few. May wait for it."""
SECONDS_BETWEEN_LOOKS = 0.2
WITHOUT_LABEL = {
    "reward": "the rest counts by its automatic reward",
    "model": "the rest was judged by what was learned from labels",
    "skip": "the rest was left out",
}
NOTHING_LEARNED = "the rest was left out, since the labels so far are too few to learn from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What a turn is handed: who hears it, who may stop it, and a clock."""

    emit: Callable[[Event], None]
    look: Callable[[int, int], None]
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Who may judge a step's groups: people, an automatic reward, and what was learned from people before it."""

    people: People
    reward: Callable[[Rollout], list[Judgement]]
    learned: LearnedReward | None = None


def judged_with_people(
    rollout: Rollout, judges: Judges, config: PeopleConfig, *, step: int, seams: Seams
) -> list[Judgement]:
    """One judgement per picture: asks people about some or all groups, waits, and judges the rest as settings say."""
    asked = asked_groups(rollout, judges.learned, config)
    labelled = labels_of(rollout, asked, judges, config, step=step, seams=seams)
    num_groups = len(rollout.prompts)
    automatic = learned = None
    if needs_reward(config, len(labelled), num_groups):
        automatic = judges.reward(rollout)
    if config.without_label == "model" and judges.learned is not None and len(labelled) < num_groups:
        learned = judge(judges.learned, rollout.pictures, rollout.prompt_per_picture)
    return joined(rollout, labelled, automatic, learned, config)


def asked_groups(rollout: Rollout, learned: LearnedReward | None, config: PeopleConfig) -> list[int]:
    """The groups to ask about: those that teach most, or the first ones while nothing was learned; 0 asks all."""
    num_groups = len(rollout.prompts)
    if config.groups_asked == 0 or config.groups_asked >= num_groups:
        return list(range(num_groups))
    if learned is None:
        return list(range(config.groups_asked))
    return learned.worth_asking(rollout.pictures, rollout.prompts, config.groups_asked)


def labels_of(
    rollout: Rollout, asked: Sequence[int], judges: Judges, config: PeopleConfig, *, step: int, seams: Seams
) -> dict[int, Scores]:
    """Posts groups of a step and waits for labels; scores by group of those that have one when the wait is over.

    A group whose labels have no weight, since those who gave them say the opposite of everybody else, or that nobody
    can label any more, is waited for no longer, but counts as one without a label. seams.look(groups not waited for
    any more, groups) is called while waiting and may raise to stop.
    """
    size = len(rollout.pictures) // len(rollout.prompts)
    posted = tuple(
        PostedGroup(
            index, rollout.prompts[index], tuple(map(png_bytes, rollout.pictures[index * size : (index + 1) * size]))
        )
        for index in asked
    )
    num_repeats = repeats_due(step, len(asked), config.repeat_share)
    seams.emit(GroupsPosted(step=step, groups=posted, num_repeats=num_repeats))
    started = seams.clock()
    while True:
        said = judges.people(step)
        labelled = {index: said[index] for index in asked if index in said}
        seams.look(len(labelled), len(asked))
        is_late = config.wait_seconds > 0 and seams.clock() - started >= config.wait_seconds
        if len(labelled) >= len(asked) or is_late:
            break
        seams.wait(SECONDS_BETWEEN_LOOKS)
    labelled = {index: scores for index, scores in labelled.items() if any(score is not None for score in scores)}
    is_unlearned = config.without_label == "model" and judges.learned is None
    rest = NOTHING_LEARNED if is_unlearned else WITHOUT_LABEL[config.without_label]
    num_groups, num_asked = len(rollout.prompts), len(asked)
    seams.emit(
        GroupsClosed(step=step, num_groups=num_groups, num_asked=num_asked, num_labelled=len(labelled), rest=rest)
    )
    return labelled


def repeats_due(step: int, num_asked: int, share: float) -> int:
    """How many groups a step asks again: over many steps the share, spread as evenly as whole groups can be."""
    return floor((step + 1) * num_asked * share) - floor(step * num_asked * share)


def needs_reward(config: PeopleConfig, num_labelled: int, num_groups: int) -> bool:
    """Whether the automatic reward counts anywhere in a step."""
    return config.weight < 1 or (num_labelled < num_groups and config.without_label == "reward")


def needs_learned(config: PeopleConfig) -> bool:
    """Whether what was learned from labels counts anywhere: to pick groups, or to judge those without a label."""
    return config.without_label == "model" or config.groups_asked > 0


def joined(
    rollout: Rollout,
    labelled: Mapping[int, Scores],
    automatic: list[Judgement] | None,
    learned: list[Judgement] | None,
    config: PeopleConfig,
) -> list[Judgement]:
    """One judgement per picture: people's and the reward's, each brought to mean 0 and spread 1 in its group, weighted.

    In a group without a label the learned reward stands in for people, where there is one and the settings want it;
    else its automatic rewards count alone, on the same scale, or it has none. automatic is None where needs_reward()
    said so.
    """
    size = len(rollout.pictures) // len(rollout.prompts)
    judgements: list[Judgement] = []
    for index in range(len(rollout.prompts)):
        rows = slice(index * size, (index + 1) * size)
        own = automatic[rows] if automatic else [Judgement(None)] * size
        if index in labelled:
            judgements += _mixed("people", labelled[index], own, config.weight)
        elif learned:
            judgements += _mixed("learned", [one.reward for one in learned[rows]], own, config.weight)
        elif config.without_label == "reward":
            judgements += _mixed("people", [None] * size, own, 0.0)
        else:
            judgements += [Judgement(None)] * size
    return judgements


def _mixed(judge_name: str, scores: Scores, automatic: list[Judgement], weight: float) -> list[Judgement]:
    mixed = merged([scores, [one.reward for one in automatic]], [weight, 1 - weight])
    found = []
    for score, said, own in zip(mixed, scores, automatic, strict=True):
        terms = ((judge_name, said),) if said is not None else ()
        reward = (("reward", own.reward),) if own.reward is not None else ()
        found.append(Judgement(score, (*terms, *reward, *own.terms), own.details))
    return found
