"""Classifier-free guidance."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def guided(
    conditional: Float[Tensor, "B ..."], unconditional: Float[Tensor, "B ..."], scale: float
) -> Float[Tensor, "B ..."]:
    """The velocity led away from the unconditional one; scale 1 is the conditional, 0 the unconditional."""
    return unconditional + scale * (conditional - unconditional)
