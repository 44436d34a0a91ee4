"""Several rewards as one: each brought to mean 0 and spread 1 among the pictures of a prompt, weighted and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from dgpo_core.rewards.contract import Judgement, Picture, Reward, held_to_contract


@dataclass(frozen=True, slots=True)
class Part:
    """A reward in a mixture."""

    name: str
    weight: float
    reward: Reward


class Mixture:
    """Weighted sum of standardised rewards, so that a reward in the twenties does not drown one between 0 and 1.

    Pictures of the same prompt are compared with each other, which are the pictures of a group. Every reward stands
    in the terms as it was given; a picture on which one of them has no opinion has none.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
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
        standard = [standardised([one.reward for one in of_part], prompts) for of_part in judged]
        return [
            self._joined(row, scores)
            for row, scores in zip(zip(*judged, strict=True), zip(*standard, strict=True), strict=True)
        ]

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


def standardised(rewards: Sequence[float | None], prompts: Sequence[str]) -> list[float | None]:
    """Each reward minus the mean of its prompt's, over their spread; 0 where all of a prompt are alike."""
    by_prompt: dict[str, list[float]] = {}
    for reward, prompt in zip(rewards, prompts, strict=True):
        if reward is not None:
            by_prompt.setdefault(prompt, []).append(reward)
    centres = {prompt: (fmean(values), pstdev(values)) for prompt, values in by_prompt.items()}
    result: list[float | None] = []
    for reward, prompt in zip(rewards, prompts, strict=True):
        if reward is None:
            result.append(None)
            continue
        mean, spread = centres[prompt]
        result.append((reward - mean) / spread if spread > 0 else 0.0)
    return result
