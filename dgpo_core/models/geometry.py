"""How large pictures are, in latents and in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import DiffusionPipeline
from diffusers.configuration_utils import FrozenDict

from dgpo_core.errors import ModelError
from dgpo_core.models.packing import SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a model can draw: pixels per latent, its own side in latents, and which sides are allowed."""

    channels: int
    pixels: int
    own_side: int
    multiple: int = 1
    largest_side: int | None = None

    @classmethod
    def of_patches(cls, pipeline: DiffusionPipeline, network: FrozenDict, largest_side: int | None = None) -> Geometry:
        """Of a transformer whose configuration names its side and its patches."""
        return cls(
            channels=network.in_channels,
            pixels=pipeline.vae_scale_factor,
            own_side=network.sample_size,
            multiple=network.patch_size,
            largest_side=largest_side,
        )

    @classmethod
    def of_packed(cls, pipeline: DiffusionPipeline, network: FrozenDict) -> Geometry:
        """Of a transformer of packed latents, whose pipeline names its side."""
        return cls(
            channels=network.in_channels // SIDE**2,
            pixels=pipeline.vae_scale_factor,
            own_side=pipeline.default_sample_size,
            multiple=SIDE,
        )

    def side(self, picture_side: int) -> int:
        """The side in latents of pictures of so many pixels; 0 is the model's own.

        Raises:
            ModelError: the model cannot draw pictures of this size.
        """
        if picture_side == 0:
            return self.own_side
        step = self.pixels * self.multiple
        largest = None if self.largest_side is None else self.largest_side * self.pixels
        if picture_side % step or (largest is not None and picture_side > largest):
            limit = f" up to {largest}" if largest else ""
            nearest = min(max(step, round(picture_side / step) * step), largest or picture_side + step)
            raise ModelError(
                f"model.picture_side is {picture_side}, but this model draws sides that are multiples of {step}{limit} "
                f"pixels. Set it to {nearest}, or to 0 for the model's own {self.own_side * self.pixels}."
            )
        return picture_side // self.pixels
