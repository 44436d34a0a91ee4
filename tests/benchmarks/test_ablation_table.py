"""Changes beside the recipe, seed by seed."""

from race_runs import run

from app.race.plan import plan_of
from app.store.rows import RacePoint, RunState
from benchmarks.ablation_table import HEAD, ablation_rows

PLAN = plan_of(
    {"entrants": {"default": {}, "no KL": {"loss.kl_weight": 0.0}, "lost": {}}, "seeds": [0, 1], "against": "default"},
    "ablations",
)


def ended(entrant, seed, score, *, state=RunState.STOPPED, clean=0.9):
    quality = (("clean things", clean), ("diversity", 0.2), ("Frechet distance", 0.05))
    points = tuple(
        RacePoint(step=step, score=value, quality=quality, seconds=1.0, pictures=96, network_evaluations=1.0)
        for step, value in ((0, 0.5), (20, score))
    )
    return run(entrant, seed, examined=points, state=state)


def test_differences_are_taken_seed_by_seed():
    runs = [
        *(ended("default", seed, score) for seed, score in ((0, 0.6), (1, 0.8))),
        *(ended("no KL", seed, score, clean=0.8) for seed, score in ((0, 0.7), (1, 0.84))),
    ]
    base, default, changed, lost = ablation_rows(PLAN, runs)
    assert base[:4] == ["the base, untrained", "2", "0.500", ""]
    assert default[:4] == ["default", "2", "0.700", ""]
    assert changed[:6] == ["no KL", "2", "0.770", "+0.070 ± 0.381", "0.800", "-0.100 ± 0.000"]
    assert lost[:4] == ["lost", "0", "", ""]
    assert {len(row) for row in (base, default, changed, lost)} == {len(HEAD)}


def test_failed_runs_and_seeds_of_one_alone_count_in_no_difference():
    runs = [ended("default", 0, 0.6), ended("no KL", 0, 0.7, state=RunState.FAILED), ended("no KL", 1, 0.9)]
    assert ablation_rows(PLAN, runs)[2][:4] == ["no KL", "1", "0.900", ""]
    assert ablation_rows(PLAN, [*runs, ended("lost", 0, 0.65)])[3][:4] == ["lost", "1", "0.650", "+0.050"]
