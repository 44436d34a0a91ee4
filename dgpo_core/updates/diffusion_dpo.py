"""Diffusion-DPO's update: the best picture of each group against its worst; the others are not looked at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dgpo_core.baselines.diffusion_dpo import best_and_worst, dpo_loss
from dgpo_core.lesson import Lesson, Tally, TrainingNoise
from dgpo_core.loss import kl_to_reference, velocity_error
from dgpo_core.updates.contract import Rows
from dgpo_core.updates.noised import NoisedUpdate


class DiffusionDpoUpdate(NoisedUpdate):
    """Wallace et al., 2023 (arXiv 2311.12908), on pairs drawn anew at every step.

    The loss is divided by preference_beta, as DGPO's is, so that one learning rate suits every beta.
    """

    @property
    def needs_old_policy(self) -> bool:
        return self._config.loss.reference == "old_policy"

    def _parts(self, lesson: Lesson) -> Sequence[Rows]:
        """Best and worst pictures, each part the best ones of some groups and then their worst."""
        best, worst = best_and_worst(lesson.deviation, lesson.group_size)
        pairs = max(1, self.micro_batch // 2)
        return [torch.cat([best[at : at + pairs], worst[at : at + pairs]]) for at in range(0, lesson.num_groups, pairs)]

    def _learn_at(self, lesson: Lesson, level: TrainingNoise, tally: Tally, old: Tensor | None) -> None:
        loss_config = self._config.loss
        is_frozen = loss_config.reference == "frozen"
        for rows in self._parts(lesson):
            self._before_part()
            x, target, conditioning = level.apply(lesson, rows)
            reference = self._reference(x, level.sigma, conditioning) if self._needs_reference else None
            velocity = self._model.velocity(x, level.sigma, conditioning)
            error = velocity_error(velocity, target)
            against = error.detach() if old is None else old[rows]
            if is_frozen and reference is not None:
                against = velocity_error(reference, target)
            loss = self._preference_loss(error, against).sum() * lesson.group_size
            if reference is not None:
                kl = kl_to_reference(velocity, reference)
                loss = loss + loss_config.kl_weight * kl.sum() * lesson.group_size / 2
                tally.kls.append(kl.detach().cpu())
            (loss / lesson.num_pictures).backward()
            tally.errors.append(error.detach().cpu())

    def _preference_loss(self, error: Tensor, reference_error: Tensor) -> Tensor:
        """One loss per pair, of errors that hold the best of all pairs and then the worst."""
        best, worst = error.chunk(2)
        best_reference, worst_reference = reference_error.chunk(2)
        beta = self._config.loss.preference_beta
        return dpo_loss(best, worst, best_reference, worst_reference, preference_beta=beta) / beta
