"""Reward-weighted fine-tuning's update: one's own pictures, the good ones most."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dgpo_core.baselines.reward_weighted import weighted_loss, weights
from dgpo_core.lesson import Lesson
from dgpo_core.loss import velocity_error
from dgpo_core.updates.contract import Rows
from dgpo_core.updates.noised import PictureUpdate


class RewardWeightedUpdate(PictureUpdate):
    """Lee et al., 2023 (arXiv 2302.12192), with weights that are a softmax over each group."""

    @property
    def needs_old_policy(self) -> bool:
        return False

    def _losses(
        self, lesson: Lesson, rows: Rows, velocity: Tensor, target: Tensor, old: Tensor | None
    ) -> Float[Tensor, " B"]:
        temperature = self._config.algorithm.temperature
        weight = weights(lesson.advantage, lesson.is_judged, lesson.group_size, temperature=temperature)
        return weighted_loss(velocity_error(velocity, target), weight[rows])
