"""GenEval (Ghosh et al. 2023): a detector finds objects, a classifier names their colours, and every demand is checked.

Strict is 1 or 0, as the paper's tables count; loose is the share of the checks that hold, which a run can climb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot

from dgpo_core.data.geneval_requests import Demand, GenEvalRequest, read_request
from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.geneval_trial import NOTE, PROMPT, blank, stop_sign
from dgpo_core.rewards.supplies import Note, Supplies

CONFIDENCE = 0.3
COUNTING_CONFIDENCE = 0.9
"""GenEval takes only what the detector is sure of where things are counted."""
MAX_OBJECTS = 16
NEAR = 0.1
"""Share of the two boxes' sizes by which centres must be apart before they lie in a direction at all."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the detector found; mask is what colours are read from, the box where it is None."""

    object_class: str
    confidence: float
    box: Box
    mask: object = None


Detect = Callable[[Sequence[Picture]], list[list[Detection]]]
NameColor = Callable[[Picture, Detection], str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check by name with what holds of it, 0 to 1, and what was found, in words."""

    checks: tuple[tuple[str, float], ...]
    found: str

    @property
    def strict(self) -> float:
        return float(all(value == 1 for _, value in self.checks))

    @property
    def loose(self) -> float:
        return sum(value for _, value in self.checks) / len(self.checks)


def verify(request: GenEvalRequest, detections: Sequence[Detection], color_of: Callable[[Detection], str]) -> Verdict:
    """Checks what was detected in a picture against a request.

    A demand checks its number (the share that is there), its colour (the share that has it) and its relation (whether
    each of its objects lies so from each of the target's); an exclusion checks that there are fewer than its number.
    """
    least = COUNTING_CONFIDENCE if request.tag == "counting" else CONFIDENCE
    by_class: dict[str, list[Detection]] = {}
    for one in sorted(detections, key=lambda one: -one.confidence):
        if one.confidence > least and len(by_class.setdefault(one.object_class, [])) < MAX_OBJECTS:
            by_class[one.object_class].append(one)
    chosen = [_chosen(demand, by_class.get(demand.object_class, []), color_of) for demand in request.include]
    checks: list[tuple[str, float]] = []
    for demand, objects in zip(request.include, chosen, strict=True):
        checks += _checks_of(demand, objects, chosen, color_of)
    for demand in request.exclude:
        too_many = len(by_class.get(demand.object_class, [])) >= demand.count
        checks.append((f"fewer than {demand.count} {demand.object_class}", float(not too_many)))
    counted = ", ".join(f"{len(objects)} {name}" for name, objects in by_class.items() if objects)
    return Verdict(tuple(checks), counted or "nothing")


def _chosen(demand: Demand, objects: Sequence[Detection], color_of: Callable[[Detection], str]) -> list[Detection]:
    """The objects that stand for a demand: those of its colour first, then the surest."""
    if demand.color is not None:
        objects = sorted(objects, key=lambda one: color_of(one) != demand.color)
    return list(objects[: demand.count])


def _checks_of(
    demand: Demand,
    objects: Sequence[Detection],
    chosen: Sequence[Sequence[Detection]],
    color_of: Callable[[Detection], str],
) -> list[tuple[str, float]]:
    checks = [(f"{demand.count} {demand.object_class}", len(objects) / demand.count)]
    if demand.color is not None:
        right = sum(color_of(one) == demand.color for one in objects)
        checks.append((f"{demand.color} {demand.object_class}", right / demand.count))
    if demand.relation is not None and demand.target is not None:
        others = chosen[demand.target]
        holds = bool(objects and others) and all(
            demand.relation in directions(one.box, other.box) for one in objects for other in others
        )
        checks.append((f"{demand.object_class} {demand.relation}", float(holds)))
    return checks


def directions(one: Box, other: Box) -> set[str]:
    """Where the first box lies from the second: up to two of GenEval's relations, none where they are too near.

    Of the way between the centres, a tenth of the boxes' summed sizes is taken off on each axis; what is left points
    in a direction when it is more than half of the whole.
    """
    way_x, x = _way(one[0], one[2], other[0], other[2])
    way_y, y = _way(one[1], one[3], other[1], other[3])
    least = hypot(way_x, way_y) / 2
    named = {"left of": -x, "right of": x, "above": -y, "below": y}
    return {name for name, left in named.items() if left > max(least, 1e-3)}


def _way(low: float, high: float, other_low: float, other_high: float) -> tuple[float, float]:
    """The way between two centres on one axis, and what is left of it."""
    way = (low + high) / 2 - (other_low + other_high) / 2
    left = max(0.0, abs(way) - NEAR * ((high - low) + (other_high - other_low)))
    return way, left if way > 0 else -left


class GenEvalReward:
    """GenEval's verdict on pictures whose prompts carry GenEval's metadata."""

    def __init__(self, supplies: Supplies, detect: Detect, name_color: NameColor, *, is_strict: bool) -> None:
        self.name = "geneval_strict" if is_strict else "geneval"
        self._supplies, self._detect, self._name_color, self._is_strict = supplies, detect, name_color, is_strict

    def check_prompts(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            read_request(self._note(prompt), prompt)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        judgements = []
        for picture, prompt, detections in zip(pictures, prompts, self._detect(pictures), strict=True):
            verdict = verify(read_request(self._note(prompt), prompt), detections, self._colors_in(picture))
            failed = [name for name, value in verdict.checks if value < 1]
            words = f"found {verdict.found}" + (f"; wrong: {', '.join(failed)}" if failed else "")
            judgements.append(Judgement(verdict.strict if self._is_strict else verdict.loose, verdict.checks, words))
        return judgements

    def trials(self) -> list[Trial]:
        return [Trial(stop_sign(), blank(), PROMPT)]

    def _note(self, prompt: str) -> Note:
        return self._supplies.note(prompt) or (NOTE if prompt == PROMPT else {})

    def _colors_in(self, picture: Picture) -> Callable[[Detection], str]:
        known: dict[int, str] = {}

        def color_of(detection: Detection) -> str:
            if id(detection) not in known:
                known[id(detection)] = self._name_color(picture, detection)
            return known[id(detection)]

        return color_of
