"""What the rewards of the Shapes world share: each reads a prompt as a request and a picture as a scan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dgpo_core.data.requests import Request, parse_request
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.rewards.shapes_detector import Scan, scan


class ShapesReward(ABC):
    """A reward that judges what was seen in a picture against what was asked for."""

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
