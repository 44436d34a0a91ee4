"""How tidily a picture of the Shapes world is drawn, whatever its shapes, colours and relations ought to be."""

from __future__ import annotations

from dgpo_core.data.requests import Request
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.shapes_detector import Scan
from dgpo_core.rewards.shapes_reward import ShapesReward


class ShapesTidiness(ShapesReward):
    """The share of clean things times how near their number is to the one asked for; 0 to 1.

    What the things are is not looked at, so this reward teaches to draw well and not to obey.
    """

    def judge(self, request: Request, seen: Scan) -> Judgement:
        things, num_wanted = seen.things, len(request.wanted)
        if not things:
            return Judgement(0.0, (("clean things", 0.0), ("number of things", 0.0)), "found nothing")
        clean = sum(thing.is_clean for thing in things) / len(things)
        number = max(0.0, 1 - abs(len(things) - num_wanted) / num_wanted)
        found = ", ".join(f"{thing}{'' if thing.is_clean else ' (not clean)'}" for thing in things)
        return Judgement(clean * number, (("clean things", clean), ("number of things", number)), f"found {found}")
