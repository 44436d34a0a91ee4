"""What each change of an ablation does, beside the recipe as it is. Pure: a plan and its runs in, rows of text out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.stats import t as student

from app.race.plan import RacePlan
from app.store.rows import RacePoint, RaceRunRow

Number = Callable[[RacePoint], float]
NUMBERS: dict[str, Number] = {
    "held-out score": lambda point: point.score,
    "clean things": lambda point: dict(point.quality)["clean things"],
    "diversity": lambda point: dict(point.quality)["diversity"],
    "Frechet distance": lambda point: dict(point.quality)["Frechet distance"],
}
HEAD = ["changed", "seeds", *(words for name in NUMBERS for words in (name, "against the recipe"))]


def ablation_rows(plan: RacePlan, runs: Sequence[RaceRunRow]) -> list[list[str]]:
    """The base and every entrant at its end: means over seeds, and seed by seed how far it lies from `against`.

    Differences are the mean over the seeds that both finished and half its 95% interval, by Student's t as seeds are
    few; failed runs are left out.
    """
    sound = {(run.entrant, run.seed): run for run in runs if run.points and not run.has_failed}
    recipe = {seed: run for (name, seed), run in sound.items() if name == plan.rules.against}
    base = _row("the base, untrained", {seed: run.points[0] for seed, run in recipe.items()}, {})
    ends = {seed: run.points[-1] for seed, run in recipe.items()}
    rows = [base]
    for entrant in plan.entrants:
        mine = {seed: run.points[-1] for (name, seed), run in sound.items() if name == entrant.name}
        rows.append(_row(entrant.name, mine, {} if entrant.name == plan.rules.against else ends))
    return rows


def _row(name: str, mine: dict[int, RacePoint], recipe: dict[int, RacePoint]) -> list[str]:
    cells = [name, str(len(mine))]
    shared = sorted(mine.keys() & recipe.keys())
    for number in NUMBERS.values():
        cells.append(f"{fmean(map(number, mine.values())):.3f}" if mine else "")
        cells.append(_difference([number(mine[seed]) - number(recipe[seed]) for seed in shared]))
    return cells


def _difference(values: Sequence[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:+.3f}"
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return f"{fmean(values):+.3f} \N{PLUS-MINUS SIGN} {half:.3f}"
