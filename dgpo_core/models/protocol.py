"""What the loop needs of a model, whatever its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, device, nn

from dgpo_core.rewards.contract import Picture


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Encoded prompts: embeddings (B, T, D) and their pooled form (B, P)."""

    embeddings: Tensor
    pooled: Tensor

    def select(self, rows: Tensor | Sequence[int] | slice) -> Conditioning:
        """The given rows, in that order; a row may come up more than once."""
        chosen = list(rows) if isinstance(rows, Sequence) else rows
        return Conditioning(self.embeddings[chosen], self.pooled[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Conditioning]) -> Conditioning:
        """The rows of all parts, in order."""
        return cls(torch.cat([one.embeddings for one in parts]), torch.cat([one.pooled for one in parts]))

    def followed_by(self, other: Conditioning) -> Conditioning:
        """These rows and then those of the other."""
        return self.joined([self, other])


class Model(Protocol):
    """A text-to-image model whose trainable weights are LoRA matrices.

    With the LoRA active it is the policy; inside reference() it is the frozen start.
    """

    device: device
    latent_shape: tuple[int, int, int]
    picture_size: tuple[int, int]
    """Height and width of a picture."""
    num_evaluations: int
    """How many pictures velocity() was asked about so far."""

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        """The trainable weights by name, in a fixed order."""
        ...

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Conditioning of each prompt; every distinct prompt is encoded once and remembered."""
        ...

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """Velocity (B, C, H, W) in float32 at noise level sigma, 0-dim or (B,)."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """A context in which velocity() is that of the frozen reference."""
        ...

    @property
    def is_exact_when_drawing(self) -> bool:
        """Whether velocities within drawing() are those of training, up to float32 rounding."""
        ...

    def drawing(self) -> AbstractContextManager[None]:
        """A context for many forwards with the weights as they are now, faster; nothing may be trained in it."""
        ...

    def decode(self, latents: Tensor) -> list[Picture]:
        """Pictures, uint8 (H, W, 3), of clean latents (B, C, H, W)."""
        ...

    def encode_pictures(self, pictures: Sequence[Picture]) -> Tensor:
        """Clean latents (B, C, H, W) in float32 of pictures of picture_size; what decode() undoes."""
        ...

    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Feature vectors (B, F) of pictures, for distances between sets of pictures."""
        ...

    def identity(self) -> Mapping[str, str | int]:
        """What a checkpoint must match to be loaded into this model."""
        ...
