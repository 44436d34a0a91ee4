"""What an update learns from, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dgpo_core.flow import noisy, velocity_target
from dgpo_core.groups import Advantages
from dgpo_core.models.protocol import Conditioning
from dgpo_core.rollout import Rollout
from dgpo_core.seeds import generator_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The pictures of groups that have a preference, the groups numbered 0..K'-1, group-major.

    num_pictures counts all pictures of the step: dead groups add nothing to the loss, but stay in its mean.
    """

    clean: Float[Tensor, "B C H W"]
    conditioning: Conditioning
    group: Int[Tensor, " B"]
    advantage: Float[Tensor, " B"]
    kept_groups: tuple[int, ...]
    group_size: int
    num_pictures: int

    @property
    def num_groups(self) -> int:
        return len(self.kept_groups)

    @classmethod
    def of(cls, rollout: Rollout, advantages: Advantages) -> Lesson:
        """The lesson of a rollout: its groups without a preference are left out."""
        kept = advantages.has_preference.nonzero().flatten()
        is_kept = advantages.has_preference[rollout.group]
        size = len(rollout.group) // len(rollout.prompts)
        return cls(
            clean=rollout.clean[is_kept.to(rollout.clean.device)],
            conditioning=rollout.conditioning.select(kept),
            group=torch.arange(len(kept)).repeat_interleave(size).to(rollout.clean.device),
            advantage=advantages.advantage[is_kept].to(rollout.clean.device),
            kept_groups=tuple(kept.tolist()),
            group_size=size,
            num_pictures=len(rollout.group),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedNoise:
    """One noise level with its noise: one draw per group, shared by the pictures of the group."""

    sigma: Float[Tensor, ""]
    noise: Float[Tensor, "K C H W"]

    @classmethod
    def draw(cls, lesson: Lesson, sigma: Float[Tensor, ""], *, run_seed: int, step: int, index: int) -> SharedNoise:
        """Fresh noise for the index-th noise level of a step."""
        shape = lesson.clean.shape[1:]
        draws = [
            torch.randn(shape, generator=generator_for(run_seed, "training noise", step, index, group))
            for group in lesson.kept_groups
        ]
        return cls(sigma=sigma, noise=torch.stack(draws).to(lesson.clean))

    def apply(self, lesson: Lesson, rows: slice) -> tuple[Tensor, Tensor, Conditioning]:
        """Noisy pictures, target velocities and conditioning of some pictures of the lesson."""
        group = lesson.group[rows]
        clean, noise = lesson.clean[rows], self.noise[group]
        return noisy(clean, noise, self.sigma), velocity_target(clean, noise), lesson.conditioning.select(group)


@dataclass(slots=True)
class Tally:
    """What the updates of a step add up to, for its metrics."""

    gates: list[Float[Tensor, " K"]] = field(default_factory=list)
    errors: list[Float[Tensor, " B"]] = field(default_factory=list)
    clipped: list[Tensor] = field(default_factory=list)
    kls: list[Float[Tensor, " B"]] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)

    def gate_per_group(self, num_groups: int) -> list[float]:
        """Gate of each group of the lesson, mean over the noise levels where it is a number."""
        return torch.stack(self.gates).nanmean(0).nan_to_num(0.5).tolist() if self.gates else [0.5] * num_groups

    def mean(self, values: Sequence[Tensor]) -> float:
        """Mean over every finite number tallied; nan where there is none."""
        every = torch.cat([one.float().flatten() for one in values]) if values else torch.empty(0)
        finite = every[every.isfinite()]
        return float(finite.mean()) if len(finite) else nan
