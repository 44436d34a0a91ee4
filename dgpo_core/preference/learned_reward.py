"""A preference as a reward: what people would probably say of pictures that nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dgpo_core.preference.ensemble import Ensemble, learned
from dgpo_core.preference.orders import Trust
from dgpo_core.preference.picking import worth_asking
from dgpo_core.preference.picture_features import PictureFeatures
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.rewards.label_scores import Scores


class LearnedReward:
    """The mean strength of an ensemble's heads. Keeps to the contract of rewards; it takes any prompt."""

    def __init__(self, ensemble: Ensemble, features: PictureFeatures) -> None:
        self.ensemble, self.features = ensemble, features

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do."""

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        strengths = self.ensemble.strengths(self.features(pictures, prompts))
        means, doubts = strengths.mean(0).tolist(), strengths.std(0, correction=0).tolist()
        return [
            Judgement(mean, (("doubt", doubt),), f"strength {mean:+.2f}, heads differ by {doubt:.2f}")
            for mean, doubt in zip(means, doubts, strict=True)
        ]

    @torch.no_grad()
    def worth_asking(self, pictures: Sequence[Picture], prompts: Sequence[str], count: int) -> list[int]:
        """Which count of the groups, one prompt and as many pictures each, people should be asked about, in order."""
        size = len(pictures) // len(prompts)
        features = self.features(pictures, [prompt for prompt in prompts for _ in range(size)])
        return worth_asking(self.ensemble, features.unflatten(0, (len(prompts), size)), count)


def table_of(groups: Sequence[tuple[Tensor, Scores]]) -> tuple[Tensor, Tensor]:
    """Features (N, G, F) and what was said (N, G) of groups of different sizes, filled up with zeros and NaN."""
    size = max(len(scores) for _, scores in groups)
    features = torch.zeros(len(groups), size, groups[0][0].shape[1])
    said = torch.full((len(groups), size), torch.nan)
    for row, (known, scores) in enumerate(groups):
        features[row, : len(scores)] = known
        said[row, : len(scores)] = torch.tensor([torch.nan if score is None else score for score in scores])
    return features, said


def learn(
    groups: Sequence[tuple[Tensor, Scores]], features: PictureFeatures, *, seed: int
) -> tuple[LearnedReward, Trust | None]:
    """A reward learned from the features and scores of labelled groups, and how far it may be trusted on others.

    Raises:
        ValueError: no group has a preference.
    """
    known, said = table_of(groups)
    ensemble, trust = learned(known, said, features.weights(), seed=seed)
    return LearnedReward(ensemble, features), trust
