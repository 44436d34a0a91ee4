"""Everything that changes while a run trains: policy, averaged and old weights, Adam, step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dgpo_core.config import UpdateConfig
from dgpo_core.ema import WeightCopy
from dgpo_core.errors import CheckpointError

_ADAM = ("step", "exp_avg", "exp_avg_sq")


class TrainingState:
    """The state of a run between two steps. step is the number of whole steps done."""

    def __init__(self, parameters: dict[str, nn.Parameter], config: UpdateConfig) -> None:
        self.parameters = parameters
        self.averaged = WeightCopy.of(parameters)
        self.old_policy = WeightCopy.of(parameters)
        self.reference: WeightCopy | None = None
        """The averaged weights that the frozen reference was taken anew from; None while that is the start."""
        self.optimizer = torch.optim.AdamW(
            parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.999)
        )
        self.step = 0

    def renew_reference(self, every: int) -> None:
        """Before each step that is a multiple of every, takes the frozen reference anew; 0 keeps the start for good."""
        if every > 0 and self.step > 0 and self.step % every == 0:
            self.reference = WeightCopy.of(self.averaged.tensors())

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, not cloned: policy/, averaged/, old_policy/, adam/, and reference/ once it was renewed."""
        found = {f"policy/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        found |= {f"averaged/{name}": tensor for name, tensor in self.averaged.tensors().items()}
        found |= {f"old_policy/{name}": tensor for name, tensor in self.old_policy.tensors().items()}
        if self.reference is not None:
            found |= {f"reference/{name}": tensor for name, tensor in self.reference.tensors().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"adam/{key}/{name}"] = value
        return found

    def snapshot(self) -> dict[str, Tensor]:
        """A clone of all tensors, to come back to with load()."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """One whole step, or none of it: what is raised inside leaves the state of the step before."""
        before, is_whole = self.snapshot(), False
        try:
            yield
            is_whole = True
        finally:
            if not is_whole:
                self.load(before, self.step)
        self.step += 1

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Takes over saved tensors, bit for bit, and forgets gradients.

        Raises:
            CheckpointError: the tensors are not those of this model; then nothing is changed.
        """
        self._check(tensors)
        self.averaged.load(part_of(tensors, "averaged"))
        self.old_policy.load(part_of(tensors, "old_policy"))
        reference = part_of(tensors, "reference")
        self.reference = WeightCopy.of(self.averaged.tensors()) if reference else None
        if self.reference is not None:
            self.reference.load(reference)
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"policy/{name}"])
            if f"adam/step/{name}" in tensors:
                for key in _ADAM:
                    device = "cpu" if key == "step" else parameter.device
                    self.optimizer.state[parameter][key] = tensors[f"adam/{key}/{name}"].clone().to(device)
        self.step = step

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises CheckpointError unless exactly what tensors() gives is there; Adam knows a weight whole or not."""
        expected = {
            f"{part}/{name}": _kind(one)
            for part in ("policy", "averaged", "old_policy")
            for name, one in self.parameters.items()
        }
        if any(name.startswith("reference/") for name in tensors):
            expected |= {f"reference/{name}": _kind(one) for name, one in self.parameters.items()}
        for name, one in self.parameters.items():
            if any(f"adam/{key}/{name}" in tensors for key in _ADAM):
                expected |= {f"adam/{key}/{name}": _kind(one) for key in _ADAM if key != "step"}
                expected[f"adam/step/{name}"] = "[] torch.float32"
        found = {name: _kind(one) for name, one in tensors.items()}
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if wrong:
            raise CheckpointError(
                f"The saved weights differ from this model's in {len(wrong)} places, first {wrong[0]}: got "
                f"{found.get(wrong[0], 'nothing')}, expected {expected.get(wrong[0], 'nothing')}. "
                "Resume with the model and LoRA rank the checkpoint was made with."
            )


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix such as policy, by their names below it."""
    return {name.removeprefix(f"{prefix}/"): one for name, one in tensors.items() if name.startswith(f"{prefix}/")}
