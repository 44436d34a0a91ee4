"""Algorithms that learn from clean pictures with fresh noise, whatever sampler drew them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dgpo_core.lesson import Lesson, Tally, TrainingNoise
from dgpo_core.loss import kl_to_reference, velocity_error
from dgpo_core.rollout import sampling_sigmas
from dgpo_core.schedules import training_sigmas
from dgpo_core.seeds import generator_for
from dgpo_core.updates.contract import Rows, Update

HELD_SHARE = 6
"""Where nothing else is trained, one picture in so many is held to the reference, with the weight of all.

That is below the trained noise levels, once for all of these, and in groups without a preference.
"""


class NoisedUpdate(Update[TrainingNoise]):
    """What these algorithms share: their noise levels, the old policy's errors, the reference, the KL."""

    def levels(self, lesson: Lesson, *, step: int, epoch: int) -> Sequence[TrainingNoise]:
        loss, seed = self._config.loss, self._config.seed
        levels = self._trained_levels(lesson, step=step, epoch=epoch)
        if loss.kl_below == 0 or loss.sigma_min == 0:
            return levels
        sigma = loss.sigma_min * torch.rand((), generator=generator_for(seed, "sigmas below", step, epoch))
        below = TrainingNoise.draw(lesson, sigma, loss, run_seed=seed, step=step, index=-1 - epoch)
        return [*levels[:-1], replace(levels[-1], below=below)]

    def accumulate(self, lesson: Lesson, level: TrainingNoise, tally: Tally, old: Tensor | None) -> None:
        self._learn_at(lesson, level, tally, old)
        loss = self._config.loss
        if level.alike is not None:
            assert lesson.alike is not None, "a level has noise for groups that the lesson has"
            self._hold(lesson.alike, level.alike, loss.kl_weight, loss.reference_guidance)
        if level.below is not None:
            self._hold(lesson, level.below, loss.kl_below * loss.num_sigmas, guidance=1)

    @abstractmethod
    def _learn_at(self, lesson: Lesson, level: TrainingNoise, tally: Tally, old: Tensor | None) -> None:
        """accumulate() at the level itself."""

    def _hold(self, lesson: Lesson, level: TrainingNoise, kl_weight: float, guidance: float) -> None:
        """Adds the gradient of the pull towards the reference, which some of the pictures take for all."""
        held = torch.arange(0, len(lesson.clean), HELD_SHARE, device=lesson.clean.device)
        weight = kl_weight * len(lesson.clean) / len(held) / lesson.num_pictures
        for rows in held.split(self.micro_batch):
            self._before_part()
            x, _, conditioning = level.apply(lesson, rows)
            reference = self._reference_velocity(x, level.sigma, conditioning, guidance)
            kl = kl_to_reference(self._model.velocity(x, level.sigma, conditioning), reference)
            (weight * kl.sum()).backward()

    def _trained_levels(self, lesson: Lesson, *, step: int, epoch: int) -> list[TrainingNoise]:
        loss, rollout, seed = self._config.loss, self._config.rollout, self._config.seed
        sigmas = training_sigmas(
            loss.num_sigmas,
            sigma_min=loss.sigma_min,
            source=loss.sigma_source,
            grid=sampling_sigmas(self._model, rollout),
            generator=generator_for(seed, "training sigmas", step, epoch),
            sigma_max=self._model.sigma_max,
        )

        def drawn(some: Lesson, sigma: Tensor, index: int) -> TrainingNoise:
            return TrainingNoise.draw(some, sigma, loss, run_seed=seed, step=step, index=index)

        held = lesson.alike if loss.kl_on_alike and loss.kl_weight > 0 else None
        return [
            replace(drawn(lesson, sigma, index), alike=drawn(held, sigma, index) if held is not None else None)
            for index, sigma in enumerate(sigmas, start=epoch * loss.num_sigmas)
        ]

    @torch.no_grad()
    def measured_kl(self, lesson: Lesson, level: TrainingNoise, count: int) -> Float[Tensor, " B"]:
        x, _, conditioning = level.apply(lesson, slice(0, min(count, self.micro_batch)))
        return self._kl_without_guidance(x, level.sigma, conditioning)

    def _measure_old(self, lesson: Lesson, level: TrainingNoise, rows: Rows) -> Float[Tensor, "B ..."]:
        """Velocity errors of the old policy."""
        x, target, conditioning = level.apply(lesson, rows)
        return velocity_error(self._model.velocity(x, level.sigma, conditioning), target)

    @property
    def _needs_reference(self) -> bool:
        return self._config.loss.reference == "frozen" or self._config.loss.kl_weight > 0


class PictureUpdate(NoisedUpdate):
    """Algorithms whose loss is a mean over judged pictures, each by itself, with a KL beside it."""

    @abstractmethod
    def _losses(
        self, lesson: Lesson, rows: Rows, velocity: Tensor, target: Tensor, old: Tensor | None
    ) -> Float[Tensor, " B"]:
        """The loss of each picture; the gradient flows through velocity."""

    def _learn_at(self, lesson: Lesson, level: TrainingNoise, tally: Tally, old: Tensor | None) -> None:
        kl_weight = self._config.loss.kl_weight
        for rows in self._parts(lesson):
            self._before_part()
            x, target, conditioning = level.apply(lesson, rows)
            reference = self._reference(x, level.sigma, conditioning) if kl_weight > 0 else None
            velocity = self._model.velocity(x, level.sigma, conditioning)
            losses = self._losses(lesson, rows, velocity, target, None if old is None else old[rows])
            loss = losses[lesson.is_judged[rows]].sum()
            if reference is not None:
                kl = kl_to_reference(velocity, reference)
                loss = loss + kl_weight * kl.sum()
                tally.kls.append(kl.detach().cpu())
            (loss / lesson.num_pictures).backward()
            tally.errors.append(velocity_error(velocity.detach(), target).cpu())
