"""A race as the page shows it, from what the store holds."""

import pytest

from app.race.plan import plan_of
from app.race.result import result_of
from app.store.requests import RacePlace
from app.ui import race_views as views
from app.ui.charts import MAX_RUNS, chosen_runs
from app.ui.tabs.race import _shown
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import EvaluationDone, RunFailed, RunStarted

PLAN = plan_of(
    {
        "target": 0.5,
        "seeds": [0],
        "learning_rates": [1e-4, 1e-3],
        "entrants": {"dgpo": {}, "nft": {"algorithm.name": "diffusion_nft"}},
    },
    "sprint",
)


@pytest.fixture
def race_id(writer):
    return writer.create_race(PLAN.name, PLAN.as_dict())


@pytest.fixture
def entered(writer, race_id):
    """Enters a run with the scores of its examinations."""

    def enter(entrant, seed, *scores, rate=1e-4, is_tuning=False, message=""):
        from conftest import step_done

        run_id = writer.create_run(to_dict(RunConfig()), 10)
        place = RacePlace(entrant=entrant, learning_rate=rate, seed=seed, is_tuning=is_tuning)
        writer.enter(race_id, run_id, place)
        writer.record(run_id, RunStarted(first_step=0, num_steps=10, num_trainable=1))
        for step, score in enumerate(scores):
            done = EvaluationDone(step=step, policy="averaged", score=score, quality=(), samples=())
            writer.record(run_id, done)
            writer.record(run_id, step_done(step, step_seconds=60.0, network_evaluations=100.0))
        if message:
            writer.record(run_id, RunFailed(step=0, message=message, details=""))
        writer.flush()
        return run_id

    return enter


def test_before_any_race_the_tab_says_how_to_start_one(reader):
    assert "python -m app race shapes" in _shown(reader, None, None)[2]


def test_standings_come_from_the_store(reader, race_id, entered):
    entered("dgpo", 0, 0.2, 0.4, 0.6)
    entered("nft", 0, 0.2, 0.3)
    (race,), runs = reader.races(), reader.race_runs(race_id)
    standings = views.standings_table(result_of(PLAN, runs))
    by_label = [
        dict(zip([column["label"] for column in standings["columns"]], row["cells"], strict=True))
        for row in standings["rows"]
    ]
    assert by_label[0]["entrant"] == "dgpo"
    assert by_label[0]["best score"] == "0.600"
    assert by_label[0]["minutes"] == "1.5"
    assert by_label[0]["pictures"] == "4"
    assert by_label[0]["evaluations"] == "150"
    assert by_label[1]["reached"] == "0 of 1"
    assert "nft never reached the target in the time it had." in views.heading(race, PLAN, result_of(PLAN, runs))
    assert "It is not over" in views.heading(race, PLAN, result_of(PLAN, runs))


def test_failures_are_named_and_rates_listed(reader, writer, race_id, entered):
    entered("dgpo", 1000, 0.2, 0.4, rate=1e-3, is_tuning=True)
    entered("nft", 1000, rate=1e-3, is_tuning=True, message="Out of memory.")
    writer.end_race(race_id)
    (race,), runs = reader.races(), reader.race_runs(race_id)
    assert [row["cells"] for row in views.tuning_table(result_of(PLAN, runs))["rows"]] == [
        ["dgpo", "0.001", "0.400"],
        ["nft", "0.001", "\N{EN DASH} (failed)"],
    ]
    assert "It is over." in views.heading(race, PLAN, result_of(PLAN, runs))


def test_curves_are_of_one_seed_or_of_one_entrants_rates(reader, race_id, entered):
    tried = entered("dgpo", 1000, 0.2, rate=1e-3, is_tuning=True)
    first, second = entered("dgpo", 0, 0.2), entered("nft", 0, 0.2)
    other = entered("dgpo", 1, 0.2)
    runs = reader.race_runs(race_id)
    values = [value for _, value in views.curve_choices(runs)]
    assert values == ["seed 0", "seed 1", "tuning dgpo"]
    assert [views.runs_to_draw(runs, value) for value in values] == [[first, second], [other], [tried]]
    assert _shown(reader, race_id, None)[5] == [first, second]
    assert _shown(reader, race_id, "tuning dgpo")[5] == [tried]
    assert _shown(reader, 99, "no such")[5] == [first, second]


def test_more_runs_than_can_be_told_apart_are_said(reader, race_id, entered):
    ids = [entered("dgpo", 0, 0.2, rate=(1 + number) * 1e-5) for number in range(MAX_RUNS)]
    assert _shown(reader, race_id, None)[4:6] == ["", ids]
    ids.append(entered("dgpo", 0, 0.2, rate=1e-3))
    words = (
        "Drawn are the first 36 of these 37 runs: the curves of more could not be told apart. "
        "The standings count every run."
    )
    assert _shown(reader, race_id, None)[4:6] == [words, ids]
    assert [run.id for run in chosen_runs(reader, None, ids)] == ids[:MAX_RUNS]
