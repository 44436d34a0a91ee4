"""All algorithms by the name that a recipe calls them."""

from __future__ import annotations

from typing import Any

from dgpo_core.config import RunConfig
from dgpo_core.models.protocol import Model
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
    """The update of the algorithm that the settings name."""
    return UPDATES[config.algorithm.name](model, config, before_part=before_part)
