"""What the loop needs of a model, whatever its architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, device, nn
from torch.nn import functional

from dgpo_core.rewards.contract import Picture


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Encoded prompts: embeddings (B, T, D), their pooled form (B, P) and which tokens count (B, T), where there are.

    Without a mask all tokens count. Rows of different lengths are padded with zeros that do not count.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def select(self, rows: Tensor | Sequence[int] | slice) -> Conditioning:
        """The given rows, in that order; a row may come up more than once."""
        chosen = list(rows) if isinstance(rows, Sequence) else rows
        return self._each(lambda one: one[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Conditioning]) -> Conditioning:
        """The rows of all parts, in order. Either all have a pooled form or none, and so with masks."""
        longest = max(part.embeddings.shape[1] for part in parts)
        padded = [part._padded(longest) for part in parts]
        return cls(
            torch.cat([part.embeddings for part in padded]),
            _joined([part.pooled for part in padded]),
            _joined([part.mask for part in padded]),
        )

    def followed_by(self, other: Conditioning) -> Conditioning:
        """These rows and then those of the other."""
        return self.joined([self, other])

    def to(self, device: device) -> Conditioning:
        """The same rows on a device."""
        return self._each(lambda one: one.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        pooled, mask = (None if one is None else change(one) for one in (self.pooled, self.mask))
        return Conditioning(change(self.embeddings), pooled, mask)

    def _padded(self, length: int) -> Conditioning:
        """These rows with length tokens."""
        lacking = length - self.embeddings.shape[1]
        if lacking == 0:
            return self
        if self.mask is None:
            raise ValueError("embeddings without a mask cannot be padded")
        embeddings = functional.pad(self.embeddings, (0, 0, 0, lacking))
        return Conditioning(embeddings, self.pooled, functional.pad(self.mask, (0, lacking)))


def _joined(column: Sequence[Tensor | None]) -> Tensor | None:
    """All rows of a column; None where the rows have none."""
    present = [one for one in column if one is not None]
    if present and len(present) < len(column):
        raise ValueError("some rows have what others lack")
    return torch.cat(present) if present else None


class Model(Protocol):
    """A text-to-image model, of which LoRA matrices or all weights are trained.

    As it is, it is the policy; inside reference() it is the frozen start.
    """

    device: device
    latent_shape: tuple[int, int, int]
    picture_size: tuple[int, int]
    """Height and width of a picture."""
    sigma_max: float
    """The noisiest level that the network knows: 1 for a flow, less for a network that predicts noise."""
    num_evaluations: int
    """How many pictures velocity() was asked about so far."""

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        """The trainable weights by name, in a fixed order."""
        ...

    def prepare(self, prompts: Sequence[str]) -> None:
        """Gets ready for a run with these prompts, so that what only encodes them may leave memory.

        Raises:
            ModelError: they are too many for what the settings allow.
        """
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
