"""How tidily a picture of the Shapes world is drawn, whatever it ought to show."""

from __future__ import annotations

from dgpo_core.data.requests import COUNTS, Request
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.shapes_detector import Scan
from dgpo_core.rewards.shapes_reward import ShapesReward


class ShapesTidiness(ShapesReward):
    """The share of clean things times how near their number is to the one asked for; 0 to 1.

    What the things are is not looked at, so this reward teaches to draw well and not to obey. Where the number is what
    a prompt is about, as in three squares, any number that such a prompt may name is as good.
    """

    name = "shapes_tidiness"
    counterpart = "a red circle"

    def judge(self, request: Request, seen: Scan) -> Judgement:
        things = seen.things
        if not things:
            return Judgement(0.0, (("clean things", 0.0), ("number of things", 0.0)), "found nothing")
        clean = sum(thing.is_clean for thing in things) / len(things)
        fitting = tuple(COUNTS.values()) if request.category == "counting" else (len(request.wanted),)
        number = max(0.0, 1 - min(abs(len(things) - count) / count for count in fitting))
        found = ", ".join(f"{thing}{'' if thing.is_clean else ' (not clean)'}" for thing in things)
        return Judgement(clean * number, (("clean things", clean), ("number of things", number)), f"found {found}")
