"""Several rewards as one: each brought to mean 0 and spread 1 among the pictures of a prompt, weighted and added."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from dgpo_core.rewards.contract import SPREAD_FLOOR, Judgement, Picture, Reward, held_to_contract


@dataclass(frozen=True, slots=True)
class Part:
    """A reward in a mixture."""

    name: str
    weight: float
    reward: Reward


class Mixture:
    """Weighted sum of standardised rewards, so that a reward in the twenties does not drown one between 0 and 1.

    The pictures of a group are compared with each other: group_size of them one after the other, or without it all
    of one prompt, which would take two groups of a prompt that a step draws twice for one. Every reward stands in the
    terms as it was given; a picture on which one of them has no opinion has none.
    """

    def __init__(self, parts: Sequence[Part], *, group_size: int | None = None) -> None:
        self.parts, self._group_size = tuple(parts), group_size
        self.name = " + ".join(f"{part.name}*{part.weight:g}" for part in parts)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        for part in self.parts:
            part.reward.check_prompts(prompts)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        judged = [
            held_to_contract(
                part.reward([picture.copy() for picture in pictures], list(prompts)), len(pictures), part.name
            )
            for part in self.parts
        ]
        groups = self._groups(prompts)
        standard = [standardised([one.reward for one in of_part], groups) for of_part in judged]
        return [
            self._joined(row, scores)
            for row, scores in zip(zip(*judged, strict=True), zip(*standard, strict=True), strict=True)
        ]

    def _groups(self, prompts: Sequence[str]) -> Sequence[Hashable]:
        if self._group_size is None or len(prompts) % self._group_size:
            return prompts
        return [place // self._group_size for place in range(len(prompts))]

    def _joined(self, judgements: Sequence[Judgement], scores: Sequence[float | None]) -> Judgement:
        terms = [
            (part.name, one.reward) for part, one in zip(self.parts, judgements, strict=True) if one.reward is not None
        ]
        details = "; ".join(one.details for one in judgements if one.details)
        known = [score for score in scores if score is not None]
        if len(known) < len(scores):
            return Judgement(None, tuple(terms), details)
        total = sum(part.weight * score for part, score in zip(self.parts, known, strict=True))
        return Judgement(total, tuple(terms), details)


def standardised(rewards: Sequence[float | None], groups: Sequence[Hashable]) -> list[float | None]:
    """Each reward minus the mean of its group's, over their spread; 0 where they spread less than SPREAD_FLOOR."""
    by_group: dict[Hashable, list[float]] = {}
    for reward, group in zip(rewards, groups, strict=True):
        if reward is not None:
            by_group.setdefault(group, []).append(reward)
    centres = {group: (fmean(values), pstdev(values)) for group, values in by_group.items()}
    result: list[float | None] = []
    for reward, group in zip(rewards, groups, strict=True):
        if reward is None:
            result.append(None)
            continue
        mean, spread = centres[group]
        result.append((reward - mean) / spread if spread >= SPREAD_FLOOR else 0.0)
    return result
