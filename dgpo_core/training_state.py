"""Everything that changes while a run trains: policy, averaged and old weights, Adam, step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dgpo_core.config import UpdateConfig
from dgpo_core.ema import WeightCopy
from dgpo_core.errors import CheckpointError


class TrainingState:
    """The state of a run between two steps. step is the number of whole steps done."""

    def __init__(self, parameters: dict[str, nn.Parameter], config: UpdateConfig) -> None:
        self.parameters = parameters
        self.averaged = WeightCopy.of(parameters)
        self.old_policy = WeightCopy.of(parameters)
        self.optimizer = torch.optim.AdamW(
            parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.999)
        )
        self.step = 0

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, not cloned: policy/, averaged/, old_policy/, adam/."""
        found = {f"policy/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        found |= {f"averaged/{name}": tensor for name, tensor in self.averaged.tensors().items()}
        found |= {f"old_policy/{name}": tensor for name, tensor in self.old_policy.tensors().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"adam/{key}/{name}"] = value
        return found

    def snapshot(self) -> dict[str, Tensor]:
        """A clone of all tensors, to come back to with load()."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Takes over saved tensors, bit for bit.

        Raises:
            CheckpointError: the tensors are not those of this model; then nothing is changed.
        """
        policy = part_of(tensors, "policy")
        if {name: one.shape for name, one in policy.items()} != {
            name: one.shape for name, one in self.parameters.items()
        }:
            raise CheckpointError(
                "The saved weights do not fit this model's LoRA. Resume with the model and settings of the checkpoint."
            )
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise CheckpointError("The saved weights hold numbers that are not finite. Choose an older checkpoint.")
        self.averaged.load(part_of(tensors, "averaged"))
        self.old_policy.load(part_of(tensors, "old_policy"))
        self.optimizer.state.clear()
        for name, parameter in self.parameters.items():
            parameter.copy_(policy[name])
            for key in ("step", "exp_avg", "exp_avg_sq"):
                saved = tensors.get(f"adam/{key}/{name}")
                if saved is not None:
                    device = "cpu" if key == "step" else parameter.device
                    self.optimizer.state[parameter][key] = saved.clone().to(device)
        self.step = step


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix such as policy, by their names below it."""
    return {name.removeprefix(f"{prefix}/"): one for name, one in tensors.items() if name.startswith(f"{prefix}/")}
