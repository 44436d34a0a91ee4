"""All algorithms by the name that a recipe calls them."""

from __future__ import annotations

from typing import Any

from dgpo_core.config import RunConfig
from dgpo_core.models.protocol import Model
from dgpo_core.rollout import sampling_sigmas
from dgpo_core.schedules import check_levels, check_path_levels
from dgpo_core.updates.contract import BeforePart, Update
from dgpo_core.updates.dgpo import DgpoUpdate
from dgpo_core.updates.diffusion_dpo import DiffusionDpoUpdate
from dgpo_core.updates.diffusion_nft import DiffusionNftUpdate
from dgpo_core.updates.flow_grpo import FlowGrpoUpdate
from dgpo_core.updates.reward_weighted import RewardWeightedUpdate

UPDATES: dict[str, type[Update[Any]]] = {
    "dgpo": DgpoUpdate,
    "flow_grpo": FlowGrpoUpdate,
    "diffusion_nft": DiffusionNftUpdate,
    "diffusion_dpo": DiffusionDpoUpdate,
    "reward_weighted": RewardWeightedUpdate,
}


def new_update(model: Model, config: RunConfig, *, before_part: BeforePart) -> Update[Any]:
    """The update of the algorithm that the settings name.

    Raises:
        ConfigError: this model knows too few of the noise levels that are to be trained.
    """
    loss, grid = config.loss, sampling_sigmas(model, config.rollout)
    if config.algorithm.name == "flow_grpo":
        check_path_levels(loss.num_sigmas, sigma_min=loss.sigma_min, grid=grid)
    else:
        check_levels(
            loss.num_sigmas, sigma_min=loss.sigma_min, source=loss.sigma_source, grid=grid, sigma_max=model.sigma_max
        )
    return UPDATES[config.algorithm.name](model, config, before_part=before_part)
