"""The verifier of the Shapes world: checks every object, count, colour and relation of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from dgpo_core.data.requests import Request, Wanted
from dgpo_core.data.scenes import relation_between
from dgpo_core.rewards.contract import Judgement
from dgpo_core.rewards.shapes_detector import Found, Scan
from dgpo_core.rewards.shapes_reward import ShapesReward

MAX_THINGS = 6
"""More things than this are counted, but only the largest ones are matched with what was wanted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check by name, passed or not. The picture is right when all are."""

    checks: tuple[tuple[str, bool], ...]
    scan: Scan

    @property
    def is_right(self) -> bool:
        return all(passed for _, passed in self.checks)

    @property
    def passed_fraction(self) -> float:
        return sum(passed for _, passed in self.checks) / len(self.checks)

    def __str__(self) -> str:
        found = ", ".join(str(thing) for thing in self.scan.things) or "nothing"
        failed = [name for name, passed in self.checks if not passed]
        return f"found {found}" + (f"; wrong: {', '.join(failed)}" if failed else "")


def verify(request: Request, seen: Scan) -> Verdict:
    """Checks a scanned picture against a request, matching things to wants as kindly as possible.

    There is a check for the number of things (nothing may be there that was not asked for), one per wanted thing, and
    one for the relation. A shape in the wrong colour earns nothing by itself: it would be worth more than the right
    colour with a trace of another, and a policy learns that.
    """
    count = ("number of things", len(seen.things) == len(request.wanted))
    largest = sorted(seen.things, key=lambda thing: -thing.area)[:MAX_THINGS]
    slots: list[Found | None] = [*largest, *[None] * len(request.wanted)]
    matches = (_match(request, chosen) for chosen in permutations(slots, len(request.wanted)))
    best = max(matches, key=lambda checks: sum(passed for _, passed in checks))
    return Verdict((count, *best), seen)


def _match(request: Request, chosen: Sequence[Found | None]) -> tuple[tuple[str, bool], ...]:
    checks = [(str(wanted), _is_there(wanted, found)) for wanted, found in zip(request.wanted, chosen, strict=True)]
    if request.relation is not None:
        first, second = chosen[0], chosen[1]
        holds = (
            first is not None
            and second is not None
            and relation_between((first.x, first.y), (second.x, second.y)) == request.relation
        )
        checks.append((request.relation, holds))
    return tuple(checks)


def _is_there(wanted: Wanted, found: Found | None) -> bool:
    """Whether a thing has the shape and the colour; one whose colours are mixed has none."""
    if found is None or found.color is None or found.shape != wanted.shape:
        return False
    return wanted.color in (None, found.color)


class ShapesVerifier(ShapesReward):
    """The verifier as a reward: 1 or 0 when strict, else the fraction of checks passed."""

    counterpart = "a blue circle and a red square"

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self.name = "shapes_strict" if is_strict else "shapes_partial"

    def judge(self, request: Request, seen: Scan) -> Judgement:
        verdict = verify(request, seen)
        reward = float(verdict.is_right) if self._is_strict else verdict.passed_fraction
        terms = tuple((name, float(passed)) for name, passed in verdict.checks)
        return Judgement(reward, terms, str(verdict))
