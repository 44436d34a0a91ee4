"""Families whose network predicts noise, or v, at a timestep: asked as flows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from diffusers import DDPMScheduler
from torch import Tensor

from dgpo_core.diffusion import (
    network_scale,
    sigmas_of_timesteps,
    timestep_at,
    velocity_from_epsilon,
    velocity_from_v,
)
from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.protocol import Conditioning

VELOCITIES = {"epsilon": velocity_from_epsilon, "v_prediction": velocity_from_v}


class DiffusionModel(DiffusersModel):
    """A network trained on the noise schedule of its pipeline's scheduler; docs/method.md derives its velocity."""

    def __init__(self, pipeline: Any, config: ModelConfig, *, seed: int) -> None:
        schedule = pipeline.scheduler.config
        kind = schedule.get("prediction_type", "epsilon")
        if kind not in VELOCITIES or "beta_schedule" not in schedule:
            raise ModelError(
                f"The model in {config.folder} has the scheduler {type(pipeline.scheduler).__name__} with "
                f"predictions of kind {kind}; only {' and '.join(VELOCITIES)} on a noise schedule can be trained. "
                "Choose another model."
            )
        self._velocity_from = VELOCITIES[kind]
        self._sigmas = sigmas_of_timesteps(DDPMScheduler.from_config(schedule).alphas_cumprod)
        self.sigma_max = float(self._sigmas[-1])
        super().__init__(pipeline, config, seed=seed)

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        noisy = (network_scale(sigma, x) * x).to(conditioning.embeddings.dtype)
        prediction = self._prediction(noisy, timestep_at(sigma, self._sigmas), conditioning).float()
        return self._velocity_from(x, prediction, sigma)

    @abstractmethod
    def _prediction(self, noisy: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        """What the network says of pictures with noise in its own scale, at timesteps (B,)."""
