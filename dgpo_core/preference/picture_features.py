"""Pictures and prompts to the numbers that a preference is learned from, by the pipeline's own encoders or a CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from dgpo_core.models.protocol import Conditioning, Model
from dgpo_core.rewards.contract import Picture

OCCUPIED_FROM = (0.1, 0.2, 0.4)
"""A pixel this far from the border's colour in RGB (0..1) belongs to something."""
SOFTNESS = 0.03
SMALLEST_THING = 0.002
"""Share of the picture below which what stands out is a speck and no thing."""
MANY_THINGS = 8
TOUCHING = np.ones((3, 3))
NUM_SEEN = 13
LATENT_WEIGHT, PROMPT_WEIGHT = 0.15, 0.3


class PictureFeatures(Protocol):
    """One row of numbers per picture, and how much each is believed before anything was learned."""

    @property
    def kind(self) -> str:
        """What makes the numbers, in a word; a head learned from one kind does not read another."""
        ...

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> Tensor:
        """Features (B, F) in float32 on the CPU, each picture with its own prompt."""
        ...

    def weights(self) -> Tensor:
        """The weight (F) of each feature once it is standardized."""
        ...


class PipelineFeatures:
    """What is plainly seen in a picture, its latents' statistics, and its prompt's pooled embedding.

    The first thirteen carry most of what 100 labels can teach (docs/people.md); latents and prompt are believed less.
    """

    kind = "pipeline with things"

    def __init__(self, model: Model) -> None:
        self._model = model

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> Tensor:
        seen = torch.stack([plainly_seen(picture) for picture in pictures])
        fitting = [resized(picture, *self._model.picture_size) for picture in pictures]
        latents = self._model.encode_pictures(fitting).float().cpu().flatten(2)
        pooled = pooled_form(self._model.encode(list(prompts))).cpu()
        return torch.cat([seen, latents.mean(2), latents.std(2, correction=0), pooled], dim=1)

    def weights(self) -> Tensor:
        num_latent = 2 * self._model.latent_shape[0]
        num_pooled = pooled_form(self._model.encode([""])).shape[1]
        return torch.cat(
            [
                torch.ones(NUM_SEEN),
                torch.full((num_latent,), LATENT_WEIGHT),
                torch.full((num_pooled,), PROMPT_WEIGHT / num_pooled**0.5),
            ]
        )


def pooled_form(conditioning: Conditioning) -> Tensor:
    """One embedding (B, P) in float32 per prompt: the pooled one, else the mean of the tokens that count."""
    if conditioning.pooled is not None:
        return conditioning.pooled.float()
    embeddings = conditioning.embeddings.float()
    if conditioning.mask is None:
        return embeddings.mean(1)
    counts = conditioning.mask.to(embeddings)[:, :, None]
    return (embeddings * counts).sum(1) / counts.sum(1).clamp(min=1)


def plainly_seen(picture: Picture) -> Tensor:
    """Mean and spread of each colour (6), share of the picture that stands out from its border (3), length of edges,
    the ratio of the two, and how many separate things there are and how large (2). Float32, all about 0 to 1."""
    pixels = torch.tensor(picture).permute(2, 0, 1).float() / 255
    border = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], dim=1)
    distance = (pixels - border.median(1).values[:, None, None]).square().sum(0).sqrt()
    occupied = torch.stack([((distance - start) / SOFTNESS).sigmoid().mean() for start in OCCUPIED_FROM])
    edges = _edge_length(pixels)
    ratio = 0.1 * occupied[1] / (edges + 0.01)
    colours = pixels.flatten(1)
    things = _things(distance > OCCUPIED_FROM[1])
    return torch.cat([colours.mean(1), colours.std(1, correction=0), occupied, edges[None], ratio[None], things])


def _things(stands_out: Tensor) -> Tensor:
    """The number of connected regions, against many, and the side of a square of their mean area, against the whole."""
    regions, _ = ndimage.label(stands_out.numpy(), structure=TOUCHING)
    shares = np.bincount(regions.ravel())[1:] / regions.size
    things = shares[shares >= SMALLEST_THING]
    side = things.mean() ** 0.5 if len(things) else 0.0
    return torch.tensor([len(things) / MANY_THINGS, side], dtype=torch.float32)


def _edge_length(pixels: Tensor) -> Tensor:
    """Mean change from a pixel to the next, both ways."""
    steps = (pixels.diff(dim=1), pixels.diff(dim=2))
    return torch.stack([step.square().sum(0).sqrt().mean() for step in steps]).sum()


def resized(picture: Picture, height: int, width: int) -> Picture:
    """The picture in another size, by area where it shrinks and bilinear where it grows."""
    if picture.shape[:2] == (height, width):
        return picture
    pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
    scaled = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
