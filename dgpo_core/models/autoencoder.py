"""Latents to pictures and back, through the autoencoder of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dgpo_core.rewards.contract import Picture

BATCH = 32
PIXELS_AT_ONCE = 2**21


class Autoencoder:
    """A variational autoencoder whose latents are scaled and shifted before the network sees them."""

    def __init__(self, vae: Any, scale: int = 8) -> None:
        self._vae, self._pixels = vae, scale**2
        if not self._is_of_films:  # convolutions with the channels last take two thirds of the time on a CPU
            vae.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = next(self._vae.parameters()).device
        return device

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Picture]:
        """Pictures, uint8 (H, W, 3), of clean latents (B, C, H, W)."""
        pictures: list[Picture] = []
        for part in latents.split(pictures_at_once(latents.shape[-2] * latents.shape[-1] * self._pixels)):
            decoded = self.decoded(self._unscaled(part.to(self._vae.dtype))).float()
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
        count = pictures_at_once(pictures[0].shape[0] * pictures[0].shape[1]) if pictures else BATCH
        for start in range(0, len(pictures), count):
            pixels = torch.stack([torch.from_numpy(picture) for picture in pictures[start : start + count]])
            pixels = pixels.permute(0, 3, 1, 2).to(self.device, self._vae.dtype) / 127.5 - 1
            yield self._latents_of(pixels).float()

    def _unscaled(self, latents: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(latents)
        return latents / scale + shift

    def _scaled(self, latents: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(latents)
        return (latents - shift) * scale

    def _scale_and_shift(self, latents: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """One of each for all latents, or one per channel where the autoencoder has their means and spreads."""
        config = self._vae.config
        scale, shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return scale, shift
        mean, std = (latents.new_tensor(one).view(-1, 1, 1) for one in (config.latents_mean, config.latents_std))
        return scale / std, mean

    def decoded(self, latents: Tensor) -> Tensor:
        """What the network makes of latents in its own scale: (B, 3, H, W), about -1 to 1."""
        frames = latents.unsqueeze(2) if self._is_of_films else latents
        decoded: Tensor = self._vae.decode(frames, return_dict=False)[0]
        return decoded.squeeze(2) if self._is_of_films else decoded

    def _latents_of(self, pixels: Tensor) -> Tensor:
        found = self._vae.encode(pixels.unsqueeze(2) if self._is_of_films else pixels)
        latents: Tensor = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latent
        return latents.squeeze(2) if self._is_of_films else latents

    @property
    def _is_of_films(self) -> bool:
        """Whether a picture is a film of one frame to it, as to Qwen-Image's."""
        return hasattr(self._vae, "temperal_downsample")


def pictures_at_once(num_pixels: int) -> int:
    """How many pictures of so many pixels go through the autoencoder together; a large one takes gigabytes."""
    return max(1, min(BATCH, PIXELS_AT_ONCE // num_pixels))
