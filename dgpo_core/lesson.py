"""What an update learns from, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import nan

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dgpo_core.baselines.flow_grpo import Path
from dgpo_core.config import LossConfig
from dgpo_core.flow import noisy, velocity_target
from dgpo_core.groups import Advantages
from dgpo_core.models.protocol import Conditioning
from dgpo_core.rollout import Rollout
from dgpo_core.seeds import generator_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The pictures of groups that have a preference, the groups numbered 0..K'-1, group-major.

    group_size is the number of pictures of a group that are trained on. num_pictures counts those of all groups of the
    step: dead groups add nothing to the loss, but stay in its mean. A picture that is not judged has advantage 0.
    deviation is the reward minus the group's mean, in double precision, which also tells apart what a clip made alike.
    conditioning has one row per group and after them one without a caption. path is there where a stochastic
    sampler drew. alike has as many pictures of each group without a preference, or is None where every group has one.
    """

    clean: Float[Tensor, "B C H W"]
    conditioning: Conditioning
    group: Int[Tensor, " B"]
    advantage: Float[Tensor, " B"]
    deviation: Float[Tensor, " B"]
    is_judged: Bool[Tensor, " B"]
    kept_groups: tuple[int, ...]
    group_size: int
    num_pictures: int
    path: Path | None = None
    alike: Lesson | None = None

    @property
    def num_groups(self) -> int:
        return len(self.kept_groups)

    @classmethod
    def of(cls, rollout: Rollout, advantages: Advantages, uncaptioned: Conditioning) -> Lesson:
        """The lesson of a rollout: its groups without a preference are set apart. uncaptioned is one empty prompt."""
        prefer = advantages.has_preference
        lesson = cls._of_some(rollout, advantages, prefer, advantages.is_trained, uncaptioned)
        if prefer.all():
            return lesson
        place = torch.arange(len(advantages.is_trained)) % (len(advantages.is_trained) // len(prefer))
        is_alike = (~prefer).repeat_interleave(len(place) // len(prefer)) & (place < lesson.group_size)
        return replace(lesson, alike=cls._of_some(rollout, advantages, ~prefer, is_alike, uncaptioned))

    @classmethod
    def _of_some(
        cls,
        rollout: Rollout,
        advantages: Advantages,
        has_group: Bool[Tensor, " K"],
        is_kept: Bool[Tensor, " B"],
        uncaptioned: Conditioning,
    ) -> Lesson:
        """These pictures of these groups, as many of each."""
        kept, device = has_group.nonzero().flatten(), rollout.clean.device
        size = int(is_kept.sum()) // max(1, len(kept))
        return cls(
            clean=rollout.clean[is_kept.to(device)],
            conditioning=rollout.conditioning.select(kept).followed_by(uncaptioned),
            group=torch.arange(len(kept)).repeat_interleave(size).to(device),
            advantage=advantages.advantage[is_kept].to(device),
            deviation=advantages.deviation[is_kept].to(device),
            is_judged=advantages.has_reward[is_kept].to(device),
            kept_groups=tuple(kept.tolist()),
            group_size=size,
            num_pictures=size * len(rollout.prompts),
            path=rollout.path.select(is_kept.to(device)) if rollout.path else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingNoise:
    """One noise level with its noise, and which groups are asked without their caption.

    Shared noise has one draw per group (K rows), else one per picture (B rows); row says which a picture takes.
    below is a level below all that are trained, where the policy is only held to the reference; only the last level of
    a round has one. alike is the same level for the groups without a preference, where these are held as well.
    """

    sigma: Float[Tensor, ""]
    noise: Float[Tensor, "rows C H W"]
    row: Int[Tensor, " B"]
    is_uncaptioned: Bool[Tensor, " K"]
    below: TrainingNoise | None = None
    alike: TrainingNoise | None = None

    @classmethod
    def draw(
        cls, lesson: Lesson, sigma: Float[Tensor, ""], config: LossConfig, *, run_seed: int, step: int, index: int
    ) -> TrainingNoise:
        """Fresh noise for the index-th noise level of a step; what one group gets does not depend on the others."""

        def generator(purpose: str, *parts: int) -> torch.Generator:
            return generator_for(run_seed, purpose, step, index, *parts)

        members = range(1 if config.shared_noise else lesson.group_size)
        draws = [
            torch.randn(lesson.clean.shape[1:], generator=generator("training noise", group, member))
            for group in lesson.kept_groups
            for member in members
        ]
        chances = [torch.rand((), generator=generator("text dropout", group)) for group in lesson.kept_groups]
        return cls(
            sigma=sigma,
            noise=torch.stack(draws).to(lesson.clean),
            row=lesson.group if config.shared_noise else torch.arange(len(lesson.clean), device=lesson.group.device),
            is_uncaptioned=(torch.stack(chances) < config.text_dropout).to(lesson.group.device),
        )

    def apply(self, lesson: Lesson, rows: slice | Tensor) -> tuple[Tensor, Tensor, Conditioning]:
        """Noisy pictures, target velocities and conditioning of some pictures of the lesson."""
        group = lesson.group[rows]
        clean, noise = lesson.clean[rows], self.noise[self.row[rows]]
        caption = torch.where(self.is_uncaptioned[group], lesson.num_groups, group)
        return noisy(clean, noise, self.sigma), velocity_target(clean, noise), lesson.conditioning.select(caption)


@dataclass(slots=True)
class Tally:
    """What the updates of a step add up to, for its metrics."""

    gates: list[Float[Tensor, " K"]] = field(default_factory=list)
    errors: list[Float[Tensor, " B"]] = field(default_factory=list)
    clipped: list[Tensor] = field(default_factory=list)
    kls: list[Float[Tensor, " B"]] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Takes up what another one has."""
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))

    def gate_per_group(self, num_groups: int) -> list[float]:
        """Gate of each group of the lesson, mean over the noise levels where it is a number; nan without any gate."""
        return torch.stack(self.gates).nanmean(0).nan_to_num(0.5).tolist() if self.gates else [nan] * num_groups

    def mean(self, values: Sequence[Tensor]) -> float:
        """Mean over every finite number tallied; nan where there is none."""
        every = torch.cat([one.float().flatten() for one in values]) if values else torch.empty(0)
        finite = every[every.isfinite()]
        return float(finite.mean()) if len(finite) else nan
