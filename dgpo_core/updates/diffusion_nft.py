"""DiffusionNFT's update: every picture pulls, by how good it is, on either side of the old policy."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from dgpo_core.baselines.diffusion_nft import nft_loss, optimality
from dgpo_core.lesson import Lesson, TrainingNoise
from dgpo_core.updates.contract import Rows
from dgpo_core.updates.noised import PictureUpdate


class DiffusionNftUpdate(PictureUpdate):
    """Zheng et al., 2025 (arXiv 2509.16117).

    Differs from the paper: groups without a preference are left out, as in DGPO, and pictures are not
    weighted by their own error.
    """

    @property
    def needs_old_policy(self) -> bool:
        return True

    def _measure_old(self, lesson: Lesson, level: TrainingNoise, rows: Rows) -> Float[Tensor, "B C H W"]:
        """Velocities of the old policy."""
        x, _, conditioning = level.apply(lesson, rows)
        return self._model.velocity(x, level.sigma, conditioning)

    def _losses(
        self, lesson: Lesson, rows: Rows, velocity: Tensor, target: Tensor, old: Tensor | None
    ) -> Float[Tensor, " B"]:
        algorithm = self._config.algorithm
        return nft_loss(
            velocity,
            velocity if old is None else old,
            target,
            optimality(lesson.advantage[rows], clip=algorithm.nft_advantage_clip),
            strength=algorithm.nft_strength,
        )
