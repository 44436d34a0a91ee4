"""Flow-GRPO's update: the clipped policy gradient along the paths that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from dgpo_core.baselines.flow_grpo import (
    TRANSITIONS,
    Path,
    Transition,
    clipped_surrogate,
    kl_of_means,
    log_probability,
)
from dgpo_core.lesson import Lesson, Tally
from dgpo_core.loss import kl_to_reference
from dgpo_core.models.protocol import Conditioning
from dgpo_core.schedules import path_steps
from dgpo_core.seeds import generator_for
from dgpo_core.updates.contract import Rows, Update


@dataclass(frozen=True, slots=True)
class PathStep:
    """The step of a path from the point with this index to the next, between two sigmas."""

    index: int
    sigma: Tensor
    lower: float


class FlowGrpoUpdate(Update[PathStep]):
    """Liu et al., 2025 (arXiv 2505.05470).

    It trains loss.num_sigmas of the steps of each path, drawn anew every step, with sigmas of at least
    loss.sigma_min; the last step of a path has no noise and so no probability. Probabilities under the
    policy that drew were kept when the paths were drawn. The reference of the KL is guided as the rollout is.
    """

    @property
    def needs_old_policy(self) -> bool:
        return False

    def levels(self, lesson: Lesson, *, step: int, epoch: int) -> Sequence[PathStep]:
        sigmas = _path_of(lesson).sigmas
        allowed = path_steps(self._config.loss.sigma_min, sigmas).nonzero().flatten()
        order = torch.randperm(len(allowed), generator=generator_for(self._config.seed, "path steps", step, epoch))
        chosen = allowed[order[: self._config.loss.num_sigmas]].sort().values
        return [PathStep(int(index), sigmas[index], float(sigmas[index + 1])) for index in chosen]

    @torch.no_grad()
    def measured_kl(self, lesson: Lesson, level: PathStep, count: int) -> Float[Tensor, " B"]:
        rows = slice(0, min(count, self.micro_batch))
        x, conditioning = _path_of(lesson).points[level.index][rows], _conditioning(lesson, rows)
        return self._kl_without_guidance(x, level.sigma, conditioning)

    def _measure_old(self, lesson: Lesson, level: PathStep, rows: Rows) -> Float[Tensor, " B"]:
        """Log densities as they were when the paths were drawn; nothing is computed."""
        return _path_of(lesson).log_probabilities[level.index][rows]

    def accumulate(self, lesson: Lesson, level: PathStep, tally: Tally, old: Tensor | None) -> None:
        path, config = _path_of(lesson), self._config
        guidance, has_kl = config.rollout.guidance_scale, config.loss.kl_weight > 0
        for rows in self._parts(lesson):
            self._before_part()
            x, conditioning = path.points[level.index][rows], _conditioning(lesson, rows)
            reference = self._reference_velocity(x, level.sigma, conditioning, guidance) if has_kl else None
            velocity = self._velocity(x, level.sigma, conditioning, guidance)
            moved = self._transition(path, level, x, velocity)
            losses, clipped = clipped_surrogate(
                log_probability(path.points[level.index + 1][rows], moved),
                self._measure_old(lesson, level, rows),
                lesson.advantage[rows],
                clip_range=config.loss.clip_range or inf,
            )
            loss = losses.sum()
            if reference is not None:
                kept = self._transition(path, level, x, reference)
                loss = loss + config.loss.kl_weight * kl_of_means(moved.mean, kept.mean, moved.std).sum()
                tally.kls.append(kl_to_reference(velocity.detach(), reference).cpu())
            (loss / lesson.num_pictures).backward()
            tally.clipped.append(clipped.cpu())

    def _transition(self, path: Path, level: PathStep, x: Tensor, velocity: Tensor) -> Transition:
        return TRANSITIONS[self._config.rollout.sampler](
            velocity,
            x,
            float(level.sigma),
            level.lower,
            noise_level=self._config.rollout.noise_level,
            highest_sigma=float(path.sigmas[1]),
        )


def _path_of(lesson: Lesson) -> Path:
    assert lesson.path is not None, "the recipe check lets Flow-GRPO run with a stochastic sampler only"
    return lesson.path


def _conditioning(lesson: Lesson, rows: Rows) -> Conditioning:
    return lesson.conditioning.select(lesson.group[rows])
