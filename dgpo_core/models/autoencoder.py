"""Latents to pictures and back, through the autoencoder of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dgpo_core.rewards.contract import Picture

BATCH = 32


class Autoencoder:
    """A variational autoencoder whose latents are scaled and shifted before the network sees them."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = next(self._vae.parameters()).device
        return device

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Picture]:
        """Pictures, uint8 (H, W, 3), of clean latents (B, C, H, W)."""
        pictures: list[Picture] = []
        for part in latents.split(BATCH):
            decoded = self._decoded(self._unscaled(part.to(self._vae.dtype))).float()
            pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            pictures += list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
        return pictures

    @torch.no_grad()
    def encode(self, pictures: Sequence[Picture]) -> Tensor:
        """Clean latents (B, C, H, W) in float32; what decode() undoes."""
        return self._scaled(torch.cat(list(self._encoded(pictures))))

    @torch.no_grad()
    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Feature vectors (B, 4 C): latents averaged over each quarter of the picture."""
        parts = self._encoded(pictures)
        return torch.cat([functional.adaptive_avg_pool2d(part, 2).flatten(1).cpu() for part in parts])

    def _encoded(self, pictures: Sequence[Picture]) -> Iterator[Tensor]:
        """The autoencoder's own latents, a part of the pictures at a time."""
        for start in range(0, len(pictures), BATCH):
            pixels = torch.stack([torch.from_numpy(picture) for picture in pictures[start : start + BATCH]])
            pixels = pixels.permute(0, 3, 1, 2).to(self.device, self._vae.dtype) / 127.5 - 1
            yield self._latents_of(pixels).float()

    def _unscaled(self, latents: Tensor) -> Tensor:
        return latents / self._vae.config.scaling_factor + self._vae.config.shift_factor

    def _scaled(self, latents: Tensor) -> Tensor:
        return (latents - self._vae.config.shift_factor) * self._vae.config.scaling_factor

    def _decoded(self, latents: Tensor) -> Tensor:
        return self._vae.decode(latents, return_dict=False)[0]

    def _latents_of(self, pixels: Tensor) -> Tensor:
        return self._vae.encode(pixels).latent_dist.mode()
