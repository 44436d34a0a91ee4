"""What the rewards of the Shapes world share: each reads a prompt as a request and a picture as a scan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from dgpo_core.data.requests import Request, parse_request, picture_of
from dgpo_core.data.scenes import draw
from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.shapes_detector import Scan, scan

TRIAL_PROMPT = "a red circle and a blue square"


class ShapesReward(ABC):
    """A reward that judges what was seen in a picture against what was asked for."""

    name: str
    counterpart: str
    """A prompt whose picture is a worse answer to TRIAL_PROMPT, by this reward, than its own."""

    @abstractmethod
    def judge(self, request: Request, seen: Scan) -> Judgement:
        """The judgement of one picture."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            parse_request(prompt)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        return [
            self.judge(parse_request(prompt), scan(picture)) for picture, prompt in zip(pictures, prompts, strict=True)
        ]

    def trials(self) -> list[Trial]:
        return [Trial(_drawn(TRIAL_PROMPT), _drawn(self.counterpart), TRIAL_PROMPT)]


def _drawn(prompt: str) -> Picture:
    scene = picture_of(parse_request(prompt), np.random.default_rng(0))
    return np.round(draw(scene) * 255).astype(np.uint8)
