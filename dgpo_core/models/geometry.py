"""How large pictures are, in latents and in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from dgpo_core.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a model can draw: pixels per latent, its own side in latents, and which sides are allowed."""

    channels: int
    pixels: int
    own_side: int
    multiple: int = 1
    largest_side: int | None = None

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
