"""How tidily a picture of the Shapes world is drawn, whatever its shapes, colours and relations ought to be."""

from __future__ import annotations

from collections.abc import Sequence

from dgpo_core.data.requests import parse_request
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.rewards.shapes_detector import scan


class ShapesTidiness:
    """The share of clean things times how near their number is to the one asked for; 0 to 1.

    What the things are is not looked at, so this reward teaches to draw well and not to obey.
    """

    def check_prompts(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            parse_request(prompt)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        return [self._judge(picture, prompt) for picture, prompt in zip(pictures, prompts, strict=True)]

    def _judge(self, picture: Picture, prompt: str) -> Judgement:
        things, num_wanted = scan(picture).things, len(parse_request(prompt).wanted)
        if not things:
            return Judgement(0.0, (("clean things", 0.0), ("number of things", 0.0)), "found nothing")
        clean = sum(thing.is_clean for thing in things) / len(things)
        number = max(0.0, 1 - abs(len(things) - num_wanted) / num_wanted)
        found = ", ".join(f"{thing}{'' if thing.is_clean else ' (not clean)'}" for thing in things)
        return Judgement(clean * number, (("clean things", clean), ("number of things", number)), f"found {found}")
