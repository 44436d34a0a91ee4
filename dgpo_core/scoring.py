"""Judgements to advantages, and a step's groups as the world gets to see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import torch

from dgpo_core.config import LossConfig
from dgpo_core.data.pictures import png_bytes
from dgpo_core.events import ScoredGroup, ScoredSample, StepMetrics
from dgpo_core.groups import Advantages, extremes_only, group_advantages
from dgpo_core.lesson import Lesson, Tally
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rollout import Rollout


def advantages_of(judgements: Sequence[Judgement], rollout: Rollout, config: LossConfig) -> Advantages:
    """Advantages of a rollout's pictures; a picture without a reward takes no part in its group."""
    advantages = group_advantages(
        torch.tensor([0.0 if one.reward is None else one.reward for one in judgements]),
        rollout.group,
        num_groups=len(rollout.prompts),
        has_reward=torch.tensor([one.reward is not None for one in judgements]),
        std=config.advantage_std,
        clip=config.advantage_clip,
        is_uniform=config.uniform_weights,
    )
    size = len(rollout.group) // len(rollout.prompts)
    if 0 < config.extremes < size:
        return extremes_only(advantages, size, config.extremes)
    return advantages


def scored_groups(
    rollout: Rollout, judgements: Sequence[Judgement], advantages: Advantages, lesson: Lesson, tally: Tally
) -> tuple[ScoredGroup, ...]:
    """The groups of a step with pictures, rewards, advantages and gates; a dead group's gate is 0.5."""
    gate_of = dict(zip(lesson.kept_groups, tally.gate_per_group(lesson.num_groups), strict=True))
    size = len(rollout.pictures) // len(rollout.prompts)
    groups = []
    for index, prompt in enumerate(rollout.prompts):
        rows = range(index * size, (index + 1) * size)
        samples = tuple(
            ScoredSample(
                member=row - rows.start,
                seed=rollout.seeds[row],
                png=png_bytes(rollout.pictures[row]),
                reward=judgements[row].reward,
                terms=judgements[row].terms,
                advantage=float(advantages.advantage[row]),
            )
            for row in rows
        )
        groups.append(
            ScoredGroup(
                index=index,
                prompt=prompt,
                samples=samples,
                reward_mean=float(advantages.mean[index].nan_to_num()),
                reward_std=float(advantages.std[index].nan_to_num()),
                gate=gate_of.get(index, 0.5),
                has_preference=index in gate_of,
            )
        )
    return tuple(groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Wall time of a step and of its parts."""

    sampling: float
    decoding: float
    scoring: float
    updating: float
    step: float


def step_metrics(
    judgements: Sequence[Judgement], advantages: Advantages, tally: Tally, seconds: StepSeconds, num_evaluations: int
) -> StepMetrics:
    """The numbers of a step; nan for what it had nothing to measure on, such as the gate of a step without update."""
    rewards = [one.reward for one in judgements if one.reward is not None]
    spreads = advantages.std[~advantages.std.isnan()]
    return StepMetrics(
        reward_mean=sum(rewards) / len(rewards) if rewards else nan,
        reward_std=float(spreads.mean()) if len(spreads) else nan,
        preference_fraction=float(advantages.has_preference.float().mean()),
        gate=tally.mean(tally.gates),
        clipped_fraction=tally.mean(tally.clipped),
        kl=tally.mean(tally.kls),
        velocity_error=tally.mean(tally.errors),
        grad_norm=sum(tally.grad_norms) / len(tally.grad_norms) if tally.grad_norms else nan,
        sampling_seconds=seconds.sampling,
        decoding_seconds=seconds.decoding,
        scoring_seconds=seconds.scoring,
        updating_seconds=seconds.updating,
        other_seconds=seconds.step - seconds.sampling - seconds.decoding - seconds.scoring - seconds.updating,
        step_seconds=seconds.step,
        network_evaluations=float(num_evaluations),
    )
