"""What came of a race: who reached what, and how long it took. Pure: rows of the store in, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, geometric_mean, stdev

from app.race.plan import RacePlan
from app.store.rows import RacePoint, RaceRunRow

Cost = Callable[[RacePoint], float]
COSTS: dict[str, Cost] = {
    "minutes": lambda point: point.seconds / 60,
    "pictures": lambda point: float(point.pictures),
    "evaluations": lambda point: point.network_evaluations,
}
NEARLY = 0.9
"""Share of the gain to the target whose time is told too.

Where a target is the highest of a rival's many noisy examinations, chance says which of those on a plateau is the
highest, and so the rival's time. Nine tenths of the gain are reached on the way up.
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation over seeds; std is None for one seed."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the first entrant's cost, over seeds: the geometric mean, and the least and the most of a seed.

    Geometric, so that it is the inverse of what it would be the other way round; a mean of ratios favours whoever
    stands below the line.
    """

    mean: float
    least: float
    most: float
    num_seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio | None:
        """None where no seed has any."""
        return cls(geometric_mean(values), min(values), max(values), len(values)) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One learning rate of the grid and the score it ended at; None where the run failed before any examination."""

    entrant: str
    learning_rate: float
    score: float | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One entrant over its seeds, the failed ones left out.

    quality is that of each seed's last examination, by name. to_target has, for every cost, what each seed that
    reached the target had spent by then; ratio is that over the first entrant's, seed by seed: above 1 the first
    entrant was quicker. ratio_nearly is the ratio of minutes to NEARLY all of the gain.
    """

    entrant: str
    learning_rate: float
    num_seeds: int
    num_reached: int
    best: Spread | None
    final: Spread | None
    quality: dict[str, Spread]
    to_target: dict[str, Spread | None]
    ratio: dict[str, Ratio | None]
    ratio_nearly: Ratio | None
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """The whole result; target is the mean of the seeds' targets, None where no seed has one.

    A seed has none while the entrant in `against` has not been examined with it, or where it failed.
    """

    target: float | None
    tried: tuple[Tried, ...]
    standings: tuple[Standing, ...]


def best_learning_rate(plan: RacePlan, entrant: str, runs: Sequence[RaceRunRow]) -> float | None:
    """The rate whose tuning run ended highest, the lower one of equals; None while any is missing or all failed."""
    if len(plan.learning_rates) == 1:
        return plan.learning_rates[0]
    tuned = {run.learning_rate: run for run in runs if run.is_tuning and run.entrant == entrant}
    if set(tuned) != set(plan.learning_rates):
        return None
    scored = [(run.points[-1].score, -rate) for rate, run in tuned.items() if run.points and not run.has_failed]
    return -max(scored)[1] if scored else None


def result_of(plan: RacePlan, runs: Sequence[RaceRunRow]) -> RaceResult:
    """The standings of a race, also of one under way."""
    racing = [run for run in runs if not run.is_tuning]
    targets = _targets(plan, racing)
    first = plan.entrants[0].name
    return RaceResult(
        target=fmean(targets.values()) if targets else None,
        tried=tuple(_tried(run) for run in runs if run.is_tuning),
        standings=tuple(_standing(entrant.name, first, targets, racing) for entrant in plan.entrants),
    )


def cost_to_reach(target: float, points: Sequence[RacePoint], cost: Cost) -> float | None:
    """What had been spent when the score first reached the target, on the line between two examinations."""
    if not points or points[0].score >= target:
        return cost(points[0]) if points else None
    for before, after in pairwise(points):
        if after.score >= target:
            share = (target - before.score) / (after.score - before.score)
            return cost(before) + share * (cost(after) - cost(before))
    return None


def _targets(plan: RacePlan, racing: Sequence[RaceRunRow]) -> dict[int, float]:
    """By seed: the plan's target, or the best score that the entrant in `against` had with that seed."""
    if plan.rules.target:
        return dict.fromkeys(plan.seeds, plan.rules.target)
    sound = [run for run in racing if run.entrant == plan.rules.against and run.points and not run.has_failed]
    return {run.seed: max(point.score for point in run.points) for run in sound}


def _nearly(target: float, run: RaceRunRow) -> float:
    """NEARLY all of the way from the start, which all of a seed share, to the target."""
    start = run.points[0].score
    return start + NEARLY * (target - start)


def _tried(run: RaceRunRow) -> Tried:
    score = run.points[-1].score if run.points else None
    return Tried(entrant=run.entrant, learning_rate=run.learning_rate, score=score, message=run.message)


def _standing(entrant: str, first: str, targets: Mapping[int, float], racing: Sequence[RaceRunRow]) -> Standing:
    runs = {run.seed: run for run in racing if run.entrant == entrant and run.points}
    sound = {seed: run for seed, run in runs.items() if not run.has_failed}
    leaders = {run.seed: run for run in racing if run.entrant == first and run.points and not run.has_failed}
    spent = {name: _costs(targets, sound, cost) for name, cost in COSTS.items()}
    lead = {name: _costs(targets, leaders, cost) for name, cost in COSTS.items()}
    nearly = {run.seed: _nearly(targets[run.seed], run) for run in racing if run.seed in targets and run.points}
    near, near_lead = (_costs(nearly, those, COSTS["minutes"]) for those in (sound, leaders))
    return Standing(
        entrant=entrant,
        learning_rate=next((run.learning_rate for run in runs.values()), float("nan")),
        num_seeds=len(sound),
        num_reached=len(spent["minutes"]),
        best=_spread([max(point.score for point in run.points) for run in sound.values()]),
        final=_spread([run.points[-1].score for run in sound.values()]),
        quality=_last_quality(list(sound.values())),
        to_target={name: _spread(list(costs.values())) for name, costs in spent.items()},
        ratio={name: Ratio.of(_ratios(spent[name], lead[name])) for name in COSTS},
        ratio_nearly=Ratio.of(_ratios(near, near_lead)),
        failures=tuple(run.message for run in racing if run.entrant == entrant and run.has_failed),
    )


def _last_quality(runs: Sequence[RaceRunRow]) -> dict[str, Spread]:
    """By name; a seed that has only been examined at its start lacks what is measured while training."""
    last = [dict(run.points[-1].quality) for run in runs]
    names = dict.fromkeys(name for one in last for name in one)
    return {name: Spread.of([one[name] for one in last if name in one]) for name in names}


def _costs(targets: Mapping[int, float], runs: dict[int, RaceRunRow], cost: Cost) -> dict[int, float]:
    """By seed, for those that reached their seed's target."""
    found = {seed: cost_to_reach(targets[seed], run.points, cost) for seed, run in runs.items() if seed in targets}
    return {seed: spent for seed, spent in found.items() if spent is not None}


def _ratios(spent: dict[int, float], lead: dict[int, float]) -> list[float]:
    return [spent[seed] / lead[seed] for seed in spent if spent[seed] > 0 and lead.get(seed, 0) > 0]


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None
