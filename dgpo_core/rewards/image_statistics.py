"""Rewards that need no model and no grammar: plain statistics of a picture, for any prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dgpo_core.rewards.contract import Judgement, Picture, Trial

Statistic = Callable[[Picture], float]
LUMA = np.array([0.299, 0.587, 0.114])
JPEG_QUALITY = 95
TRIAL_SIZE = 64


def _luma(picture: Picture) -> NDArray[np.float64]:
    return np.asarray(picture @ LUMA / 255)


def brightness(picture: Picture) -> float:
    """Mean luma, 0 black to 1 white (ITU-R BT.601 weights)."""
    return float((picture @ LUMA).mean() / 255)


def colourfulness(picture: Picture) -> float:
    """Spread and mean of the opponent colours, 0 for grey, about 1 for very colourful.

    Hasler and Süsstrunk 2003, eq. 14, divided by 109, their value for extremely colourful pictures.
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = np.hypot(first.std(), second.std())
    return float((spread + 0.3 * np.hypot(first.mean(), second.mean())) / 109)


def sharpness(picture: Picture) -> float:
    """Share of the luma's contrast that a Gaussian blur of one pixel takes away, 0 to 1; 0 for a flat picture.

    It is a ratio of standard deviations, so a picture of low contrast may still be sharp.
    """
    luma = _luma(picture)
    contrast = luma.std()
    if contrast < 1e-6:
        return 0.0
    return float(min(1.0, (luma - ndimage.gaussian_filter(luma, 1.0, mode="nearest")).std() / contrast))


def symmetry(picture: Picture) -> float:
    """1 minus the mean difference of a picture and its mirror image over what it is at most; 1 where they are equal."""
    pixels = picture.astype(np.float64) / 255
    return float(1 - np.abs(pixels - pixels[:, ::-1]).mean())


def jpeg_kilobytes(picture: Picture) -> float:
    """Size of the picture as JPEG of quality 95, in units of 1000 bytes."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return len(buffer.getvalue()) / 1000


class ImageStatistic:
    """A statistic of the picture as a reward; the prompt plays no part."""

    def __init__(self, name: str, statistic: Statistic, trial: Callable[[], tuple[Picture, Picture]]) -> None:
        self.name, self._statistic, self._trial = name, statistic, trial

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        values = [self._statistic(picture) for picture in pictures]
        return [Judgement(value, ((self.name, value),), f"{self.name} {value:.3f}") for value in values]

    def trials(self) -> list[Trial]:
        better, worse = self._trial()
        return [Trial(better, worse, "")]


def plain(*color: int) -> Picture:
    """A picture of one colour."""
    return np.tile(np.array(color, np.uint8), (TRIAL_SIZE, TRIAL_SIZE, 1))


def stripes() -> Picture:
    """Upright stripes, black and white, eight pixels wide, which are no mirror image of themselves."""
    columns = (np.arange(TRIAL_SIZE) // 8 % 2 * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(columns[None, :, None], (TRIAL_SIZE, TRIAL_SIZE, 3)))


def blurred(picture: Picture, sigma: float = 2.0) -> Picture:
    """The picture out of focus."""
    return (
        ndimage.gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="nearest").round().astype(np.uint8)
    )


def grain() -> Picture:
    """Grey noise, the same each time."""
    shades = np.random.default_rng(0).integers(0, 256, (TRIAL_SIZE, TRIAL_SIZE, 1), dtype=np.uint8)
    return np.repeat(shades, 3, axis=2)


def patches() -> Picture:
    """Four patches of strong colours."""
    half = TRIAL_SIZE // 2
    picture = plain(255, 0, 0)
    picture[:half, half:], picture[half:, :half], picture[half:, half:] = (0, 200, 0), (0, 0, 255), (255, 220, 0)
    return picture


def colour_trials() -> list[Trial]:
    """A plain red and a plain blue picture, each asked for, for rewards that compare picture and prompt."""
    red, blue = plain(220, 20, 20), plain(20, 40, 220)
    return [Trial(red, blue, "a plain red picture"), Trial(blue, red, "a plain blue picture")]


def clean_and_noisy() -> list[Trial]:
    """Patches of colour against noise, and against the same out of focus, for rewards that look at quality."""
    return [Trial(patches(), grain(), "four coloured squares"), Trial(patches(), blurred(patches(), 8), "squares")]


STATISTICS: dict[str, tuple[Statistic, Callable[[], tuple[Picture, Picture]]]] = {
    "brightness": (brightness, lambda: (plain(230, 230, 230), plain(20, 20, 20))),
    "colourfulness": (colourfulness, lambda: (patches(), np.repeat(patches()[..., :1], 3, axis=2))),
    "sharpness": (sharpness, lambda: (stripes(), blurred(stripes()))),
    "symmetry": (symmetry, lambda: (plain(90, 120, 200), stripes())),
    "compressibility": (lambda picture: -jpeg_kilobytes(picture), lambda: (plain(90, 120, 200), grain())),
    "incompressibility": (jpeg_kilobytes, lambda: (grain(), plain(90, 120, 200))),
}
"""What each measures, and pictures that it must put in order: better, worse."""


def image_statistic(name: str) -> ImageStatistic:
    """The statistic of that name as a reward."""
    return ImageStatistic(name, *STATISTICS[name])
