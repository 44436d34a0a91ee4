"""Muon in float32: torch's own works in bfloat16, which a CPU without such instructions imitates very slowly.

Its learning rate may be a tensor, so that a step recorded on a GPU (base_model/replay.py) can be replayed at another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


def orthogonalized(matrices: Float[Tensor, "N rows columns"]) -> Float[Tensor, "N rows columns"]:
    """Each matrix with its singular values brought near 1, by Newton and Schulz's iteration.

    Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks"; values end between 0.5 and 1.5.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalized(matrices.mT).mT
    first, second, third = QUINTIC
    found = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = found @ found.mT
        found = first * found + (second * gram + third * gram @ gram) @ found
    return found


class Muon(torch.optim.Muon):
    """torch.optim.Muon with Nesterov momentum and the learning rate scaled to match AdamW's, in float32."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; matrices of one shape are orthogonalized together. closure is not used."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                updates = orthogonalized(torch.stack([self._with_momentum(one, group) for one in parameters]))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update * rate)

    def _with_momentum(self, parameter: Tensor, group: dict[str, float]) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        average = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1 - group["momentum"])
        return parameter.grad.lerp(average, group["momentum"])
