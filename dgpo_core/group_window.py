"""What a run's groups showed over some steps: how different their pictures are, who agrees, how the reward stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import torch

from dgpo_core.config import RunConfig
from dgpo_core.events import Examined, ScoredGroup, ScoredSample
from dgpo_core.reward_names import parse_mixture
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.label_scores import agreement

DIVERSITY, AGREEMENT, REWARD = "in-group diversity", "people's agreement", "training reward"
PEOPLE_TERM, REWARD_TERM = "people", "reward"


@dataclass(slots=True)
class Mean:
    """A mean that grows value by value, and how far it is known."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def value(self) -> float:
        return self.total / self.count

    @property
    def squared_error(self) -> float:
        """The square of the mean's standard error; infinite for a single value, of which nothing is known."""
        if self.count < 2:
            return float("inf")
        spread = max(0.0, self.squares - self.count * self.value**2) / (self.count - 1)
        return spread / self.count

    def is_above(self, other: Mean, standard_errors: float) -> bool:
        """Whether this mean is higher by more than so many standard errors of the difference."""
        return self.value - other.value > standard_errors * sqrt(self.squared_error + other.squared_error)


@dataclass(slots=True)
class GroupWindow:
    """Means of the numbers of all groups seen, and for each number the group that has the least of it."""

    num_groups: int = 0
    means: dict[str, Mean] = field(default_factory=dict)
    least: dict[str, tuple[float, ScoredGroup]] = field(default_factory=dict)

    def as_values(self) -> dict[str, Any]:
        """What a resumed run needs of it, as JSON values; pictures are not kept."""
        return {"num_groups": self.num_groups, "means": {name: asdict(mean) for name, mean in self.means.items()}}

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> GroupWindow:
        """Goes on from as_values()."""
        return cls(values["num_groups"], {name: Mean(**mean) for name, mean in values["means"].items()})

    def see(self, group: ScoredGroup, numbers: Mapping[str, float]) -> None:
        self.num_groups += 1
        for name, value in numbers.items():
            self.means.setdefault(name, Mean()).add(value)
            if name not in self.least or value < self.least[name][0]:
                self.least[name] = (value, group)

    def values(self) -> dict[str, float]:
        """The means of what is watched; the reward is no such number."""
        return {name: mean.value for name, mean in self.means.items() if name != REWARD}

    def pictures_of(self, name: str, count: int) -> tuple[Examined, ...]:
        """Pictures of the group with the least of a number, those with the highest reward first."""
        if name not in self.least:
            return ()
        value, group = self.least[name]
        ranked = sorted(group.samples, key=lambda one: (one.reward is None, -(one.reward or 0.0)))
        return tuple(_shown(one, group.prompt, name, value) for one in ranked[:count])


def numbers_of(group: ScoredGroup, pictures: Sequence[Picture], config: RunConfig) -> dict[str, float]:
    """The numbers of a group by name; what it cannot say is left out."""
    terms = [dict(one.terms) for one in group.samples]
    tau = agreement([one.get(PEOPLE_TERM) for one in terms], [one.get(REWARD_TERM) for one in terms])
    known = [value for one in group.samples if (value := on_one_scale(one, config)) is not None]
    found = {DIVERSITY: diversity_within(pictures), AGREEMENT: tau, REWARD: sum(known) / len(known) if known else None}
    return {name: value for name, value in found.items() if value is not None}


def on_one_scale(sample: ScoredSample, config: RunConfig) -> float | None:
    """The reward that a picture is trained on, where it means the same in every group.

    None for a mixture, which brings each group to mean 0 and so never rises. Where people are asked the same is done to
    what they say and to the automatic reward, so the latter is taken as it was given.
    """
    shares = parse_mixture(config.reward.train, "reward.train")
    if len(shares) > 1 or shares[0].weight != 1:
        return None
    return dict(sample.terms).get(REWARD_TERM) if config.people.weight > 0 else sample.reward


def diversity_within(pictures: Sequence[Picture]) -> float:
    """Root mean square distance of a group's pixels to their mean picture, 0 where all are alike, at most 0.5."""
    stack = torch.stack([torch.tensor(picture) for picture in pictures]).float() / 255
    return float(stack.var(dim=0, correction=0).mean().sqrt())


def _shown(sample: ScoredSample, prompt: str, name: str, value: float) -> Examined:
    said = dict(sample.terms)
    about = [f"{name} of its group {value:.3g}"]
    if name == AGREEMENT:
        about += [f"{term} {said[term]:.3g}" for term in (PEOPLE_TERM, REWARD_TERM) if term in said]
    return Examined(
        prompt=prompt, category=name, seed=sample.seed, score=sample.reward, details=", ".join(about), png=sample.png
    )
