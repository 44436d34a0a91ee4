"""Latent pictures as the tokens of a transformer that takes squares of two by two: FLUX and Qwen-Image."""

from __future__ import annotations

from torch import Tensor

SIDE = 2


def packed(latents: Tensor) -> Tensor:
    """Tokens (B, H/2 * W/2, 4 C) of latents (B, C, H, W), row by row, each square channel by channel."""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // SIDE, SIDE, width // SIDE, SIDE)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * SIDE * SIDE)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """The latents (B, C, height, width) that packed() gives these tokens for."""
    squares = tokens.view(len(tokens), height // SIDE, width // SIDE, -1, SIDE, SIDE)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, height, width)
