"""Races of the benchmark, in real processes, on the small model."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from lab_folder import write_recipe
from race_runs import run

from app.race.plan import load_race, plan_of
from app.race.result import result_of
from app.recipes import load_recipe
from app.store.rows import RacePoint, RunState
from benchmarks.lone_run import LoneRun, known_runs, rows_from, single
from benchmarks.race import changed, raced, raced_in_turns
from dgpo_core.config import to_dict
from dgpo_core.errors import ConfigError

QUICK = {"minutes": 0.02, "turn_minutes": 0.005, "tuning_minutes": 0.01, "examined_prompts": 2, "against": "dgpo"}


@pytest.fixture
def plan(tmp_path, model_folder):
    """One entrant, two rates, one seed."""
    recipe = str(write_recipe(tmp_path, model_folder))
    return plan_of(
        QUICK | {"recipe": recipe, "entrants": {"dgpo": {}}, "seeds": [3], "learning_rates": [1e-3, 1e-2]}, "small"
    )


def test_rates_are_tried_and_seeds_raced_in_processes_of_their_own(plan, tmp_path):
    runs = raced(plan, tmp_path / "work")
    assert [(run.learning_rate, run.seed) for run in runs if run.is_tuning] == [(1e-3, 1000), (1e-2, 1000)]
    (raced_run,) = [run for run in runs if not run.is_tuning]
    assert raced_run.seed == 3
    assert len(raced_run.points) > 2, "examined turn after turn"
    result = result_of(plan, runs)
    assert result.standings[0].num_seeds == 1
    assert result_of(plan, rows_from([asdict(run) for run in runs])) == result
    assert LoneRun(plan, plan.entrants[0], raced_run.learning_rate, 3, tmp_path / "work", is_tuning=False).is_over


def test_nothing_is_made_of_runs_whose_process_died(plan, tmp_path, monkeypatch):
    def killed(run, settings):
        with (run.folder / "said.txt").open("wb") as said:
            return subprocess.Popen([sys.executable, "-c", "print('One word.\\n')"], stdout=said)

    monkeypatch.setattr(LoneRun, "start", killed)
    with pytest.raises(SystemExit, match=r"2 of 2 runs are not over: .*tuning: One word\.; .* goes on with them\."):
        raced(plan, tmp_path / "work")


def test_finished_runs_of_another_plan_or_recipe_are_not_taken_for_these(plan, tmp_path, model_folder):
    def lone(of):
        return LoneRun(of, of.entrants[0], 1e-3, 3, tmp_path / "work", is_tuning=False)

    plan = changed(plan, ["learning_rates=[0.001]"])
    raced(plan, tmp_path / "work")
    assert lone(plan).is_over
    assert not lone(changed(plan, ["entrants={dgpo: {loss.preference_beta: 50}}"])).is_over
    write_recipe(tmp_path, model_folder, loss={"kl_weight": 0.7})
    assert lone(plan).rows() == []


def test_no_more_than_the_given_number_of_runs_train_at_a_time(plan, tmp_path, monkeypatch):
    started, alive_at_start = [], []
    begin = LoneRun.start

    def watched(run, settings):
        alive_at_start.append(sum(process.poll() is None for process in started))
        started.append(begin(run, settings))
        return started[-1]

    monkeypatch.setattr(LoneRun, "start", watched)
    runs = raced(changed(plan, ["seeds=[3, 4, 5]", "learning_rates=[0.001]"]), tmp_path / "work", limit=2)
    assert [run.seed for run in runs] == [3, 4, 5]
    assert alive_at_start[:2] == [0, 1]
    assert max(alive_at_start) == 1


def test_groups_to_learn_from_are_drawn_once_for_all_who_learn_from_them(plan, tmp_path):
    folder = tmp_path / "groups"
    values = plan.as_dict() | {
        "entrants": {"dgpo": {}, "offline": {"rollout.stored_groups": str(folder)}},
        "prepare": {str(folder): {"schedule.num_steps": 2}},
        "learning_rates": [1e-3],
        "seeds": [3, 4],
    }
    runs = raced(plan_of(values, "small"), tmp_path / "work")
    assert [(run.entrant, run.seed, run.has_failed) for run in runs] == [
        (entrant, seed, False) for seed in (3, 4) for entrant in ("dgpo", "offline")
    ]
    said = [file.read_text() for file in (tmp_path / "work").glob("offline-*/said.txt")]
    assert sorted(f"{folder} is not there" in words for words in said) == [False, True]


def kept_result(plan, runs):
    """As benchmarks.race keeps it, through JSON."""
    recipe = to_dict(load_recipe(plan.rules.recipe))
    values = {"name": plan.name, "plan": plan.as_dict(), "recipe": recipe, "runs": [asdict(run) for run in runs]}
    return json.loads(json.dumps(values))


def run_of(entrant="dgpo", seed=3, pictures=96, state=RunState.STOPPED):
    point = RacePoint(step=2, score=0.5, quality=(), seconds=1.0, pictures=pictures, network_evaluations=9.0)
    return run(entrant, seed, examined=(point,), rate=1e-3, state=state)


def test_runs_that_are_known_from_a_kept_result_are_not_made_again(plan, tmp_path):
    plan = changed(plan, ["pictures=96", "learning_rates=[0.001]"])
    runs = [run_of()]
    assert raced(plan, tmp_path / "work", known=known_runs(plan, kept_result(plan, runs))) == runs
    assert not list((tmp_path / "work").glob("*/said.txt")), "nothing was started"


@pytest.mark.parametrize(
    ("then", "run"),
    [
        (["pictures=96"], run_of(pictures=95)),
        (["pictures=96"], run_of(state=RunState.FAILED)),
        (["pictures=96"], run_of(entrant="gone")),
        (["pictures=97"], run_of(pictures=100)),
        (["pictures=96", "examined_prompts=3"], run_of()),
        (["pictures=96", "entrants={dgpo: {loss.kl_weight: 0.5}}"], run_of()),
    ],
)
def test_runs_of_a_kept_result_that_would_be_others_now_are_made_again(plan, then, run):
    before = changed(plan, ["pictures=96", "learning_rates=[0.001]", "entrants={dgpo: {}, gone: {}}"])
    now = changed(plan, ["learning_rates=[0.001]", *then])
    assert known_runs(now, kept_result(before, [run])) == []


def test_a_race_that_minutes_bound_and_another_recipe_know_no_runs(plan, tmp_path, model_folder):
    timed, counted = (changed(plan, [f"pictures={number}", "learning_rates=[0.001]"]) for number in (0, 96))
    assert known_runs(timed, kept_result(timed, [run_of()])) == []
    result = kept_result(counted, [run_of()])
    assert known_runs(counted, result) == [run_of()]
    assert known_runs(counted, result | {"recipe": result["recipe"] | {"seed": 9}}) == []
    assert known_runs(counted, None) == []


def test_a_race_in_turns_is_run_once_and_read_back_from_its_lab(plan, tmp_path):
    runs = raced_in_turns(plan, tmp_path / "work")
    assert [(run.seed, run.is_tuning) for run in runs] == [(1000, True), (1000, True), (3, False)]
    assert result_of(plan, runs).standings[0].num_seeds == 1
    assert raced_in_turns(plan, tmp_path / "work") == runs


def test_the_plan_of_one_run_is_a_race_that_can_be_read_back(plan):
    lone = plan_of(single(plan, plan.entrants[0], 1e-2, 7, is_tuning=True), "small")
    assert (lone.rules.minutes, lone.seeds, lone.learning_rates) == (QUICK["tuning_minutes"], (7,), (1e-2,))


def test_rules_are_changed_by_name(plan):
    assert changed(plan, ["minutes=7", "seeds=[4, 5]"]).seeds == (4, 5)
    assert changed(plan, ["minutes=7"]).rules.minutes == 7


def test_some_of_the_entrants_may_race_alone():
    plan = changed(load_race("shapes"), [], ["flow_grpo", "dgpo"])
    assert [entrant.name for entrant in plan.entrants] == ["flow_grpo", "dgpo"]


def test_an_entrant_that_the_race_does_not_have_is_named():
    with pytest.raises(ConfigError, match=r"shapes has no entrant ppo\. Its entrants: dgpo"):
        changed(load_race("shapes"), [], ["ppo", "dgpo"])
