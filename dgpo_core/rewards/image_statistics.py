"""Rewards that need no model and no grammar: plain statistics of a picture, for any prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dgpo_core.rewards.contract import Judgement, Picture


def brightness(picture: Picture) -> float:
    """Mean luma, 0 black to 1 white (ITU-R BT.601 weights)."""
    return float((picture @ np.array([0.299, 0.587, 0.114])).mean() / 255)


def colourfulness(picture: Picture) -> float:
    """Spread and mean of the opponent colours, 0 for grey, about 1 for very colourful.

    Hasler and Süsstrunk 2003, eq. 14, divided by 109, their value for extremely colourful pictures.
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = np.hypot(first.std(), second.std())
    return float((spread + 0.3 * np.hypot(first.mean(), second.mean())) / 109)


class ImageStatistic:
    """A statistic of the picture as a reward; the prompt plays no part."""

    def __init__(self, name: str, statistic: Callable[[Picture], float]) -> None:
        self._name, self._statistic = name, statistic

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        values = [self._statistic(picture) for picture in pictures]
        return [Judgement(value, ((self._name, value),), f"{self._name} {value:.3f}") for value in values]
