"""All weights of a network trained, beside a frozen copy of where they began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class FullWeights:
    """The network's own weights in float32. The copy keeps the precision that they came in."""

    can_merge = is_exact_when_merged = True

    def __init__(self, network: nn.Module) -> None:
        self._start = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        # In bfloat16 an update of 1e-5 is smaller than the spacing of the weights and would be lost.
        self._network = network.float().requires_grad_(True)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The weights by name."""
        return dict(self._network.named_parameters())

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers."""
        return self._network(*inputs, **named)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Within this with, the network is the frozen start; it only points elsewhere, nothing is copied."""
        moved = {name: weight.data for name, weight in self.parameters().items()}
        self._point_to(self._start)
        try:
            yield
        finally:
            self._point_to(moved)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Without gradient; there is nothing to merge."""
        with torch.no_grad():
            yield

    def plain_weights(self) -> dict[str, Tensor]:
        """All weights of the network."""
        return self._network.state_dict()

    def _point_to(self, weights: dict[str, Tensor]) -> None:
        for name, weight in self._network.named_parameters():
            weight.data = weights[name]
