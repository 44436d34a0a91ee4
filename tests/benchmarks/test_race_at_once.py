"""Races of the benchmark, in real processes, on the small model."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from lab_folder import wait_for, write_recipe
from race_runs import run

from app.__main__ import opened_store
from app.race.plan import load_race, plan_of
from app.race.result import result_of
from app.recipes import load_recipe
from app.settings import Settings
from app.store.rows import RacePoint, RunState
from benchmarks import record
from benchmarks.lone_run import LoneRun, check_same_plan, known_runs, prompts_hash, rows_from, single
from benchmarks.race import changed, main, raced, raced_in_turns
from benchmarks.record import kept
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
    recipe = load_recipe(plan.rules.recipe)
    values = {
        **{"name": plan.name, "plan": plan.as_dict(), "runs": [asdict(run) for run in runs]},
        **{"recipe": to_dict(recipe), "prompts": prompts_hash(recipe)},
    }
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


@pytest.mark.parametrize("file", ["train.txt", "heldout.txt"])
def test_runs_of_other_prompts_of_the_same_name_are_not_known(plan, tmp_path, file):
    plan = changed(plan, ["pictures=96", "learning_rates=[0.001]"])
    result = kept_result(plan, [run_of()])
    assert known_runs(plan, {key: value for key, value in result.items() if key != "prompts"}) == []
    (tmp_path / file).write_text("a bear\na wolf")
    assert known_runs(plan, result) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("minutes=5", "race-mine is kept of a race whose minutes was 0.02, and this one's is 5"),
        ("learning_rates=[0.1]", "race-mine is kept of a race whose learning_rates was [0.001, 0.01], and this one's"),
    ],
)
def test_a_kept_result_is_not_replaced_by_that_of_another_plan(plan, change, words):
    result = kept_result(plan, [run_of()])
    with pytest.raises(ConfigError) as refused:
        check_same_plan(changed(plan, [change]), result, "mine")
    assert words in str(refused.value)
    assert "--label" in str(refused.value)
    with pytest.raises(ConfigError, match="whose name was 'small', and this one's is 'other'"):
        check_same_plan(replace(plan, name="other"), result, "mine")


@pytest.mark.parametrize("name", ["shapes", "ablations"])
def test_the_races_that_ship_may_be_run_again_over_their_kept_results(name):
    result = kept(f"race-{name}")
    assert result is not None
    check_same_plan(load_race(name), result, name)


def test_a_kept_result_may_get_more_and_fewer_entrants_and_seeds(plan):
    more = changed(plan, ["entrants={dgpo: {}, nft: {algorithm.name: diffusion_nft}}", "seeds=[3, 4]"])
    check_same_plan(more, kept_result(plan, [run_of()]), "small")
    check_same_plan(plan, kept_result(more, [run_of()]), "small")
    check_same_plan(plan, None, "small")


def test_who_learns_from_other_prepared_groups_may_come_later_but_the_same_folder_has_the_same_groups(plan):
    offline = {"entrants": {"dgpo": {}, "offline": {"rollout.stored_groups": "work/groups"}}}
    drawn, otherwise = (
        plan_of(plan.as_dict() | offline | {"prepare": {"work/groups": {"schedule.num_steps": number}}}, "small")
        for number in (2, 3)
    )
    check_same_plan(drawn, kept_result(plan, []), "small")
    check_same_plan(plan, kept_result(drawn, []), "small")
    with pytest.raises(ConfigError, match=r"whose prepare work/groups was \{'schedule\.num_steps': 2\}, and this"):
        check_same_plan(otherwise, kept_result(drawn, []), "small")


@pytest.fixture
def kept_folder(tmp_path, monkeypatch):
    """Where the command keeps results, of this test alone."""
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_the_command_keeps_which_prompts_were_trained_and_examined_on(plan, tmp_path, kept_folder, capsys):
    plan = changed(plan, ["pictures=96", "learning_rates=[0.001]"])
    kept_folder.mkdir()
    file = kept_folder / "race-small.json"
    file.write_text(json.dumps(kept_result(plan, [run_of()])))
    race = tmp_path / "small.yaml"
    race.write_text(json.dumps(plan.as_dict()))
    assert main([str(race), "--work", str(tmp_path / "work")]) == 0
    assert json.loads(file.read_text())["prompts"] == prompts_hash(load_recipe(plan.rules.recipe))
    assert main([str(race), "--set", "minutes=5", "--work", str(tmp_path / "work")]) == 2
    assert "whose minutes was 0.02, and this one's is 5" in capsys.readouterr().err
    assert not list((tmp_path / "work").glob("*/*/said.txt")), "nothing was started"


def test_a_run_that_was_killed_goes_on_from_its_last_examination(plan, tmp_path):
    plan = changed(plan, ["minutes=10", "turn_minutes=0.0001", "pictures=160", "learning_rates=[0.001]"])
    run = LoneRun(plan, plan.entrants[0], 1e-3, 3, tmp_path / "work", is_tuning=False)

    def examined():
        return max((point.step for row in run.rows() for point in row.points), default=0)

    process = run.start({})
    wait_for(lambda: examined() >= 3)
    process.kill()
    process.wait()
    last = examined()
    assert run.start({}).wait() == 0
    (row,) = run.rows(only_ended=True)
    assert (row.points[-1].step, row.points[-1].pictures) == (20, 160)
    with opened_store(Settings(folder=run.folder / "lab")) as (reader, _):
        begun = [event.step for event in reader.diary(row.run_id) if event.kind == "started"]
    assert begun[0] == 0
    assert begun[1:] in ([last], [last - 1]), "one less where it was killed while it was saved"


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
    assert changed(plan, ["learning_rates=[1e-4, 3e-4]"]).learning_rates == (1e-4, 3e-4)


def test_another_recipe_brings_its_own_learning_rate_where_the_plan_has_none(plan, tmp_path, model_folder):
    (tmp_path / "other").mkdir()
    other = write_recipe(tmp_path / "other", model_folder, update={"learning_rate": 0.005})
    values = {key: value for key, value in plan.as_dict().items() if key != "learning_rates"}
    assert changed(plan_of(values, "small"), [f"recipe={other}"]).learning_rates == (0.005,)
    assert changed(plan_of(values, "small"), [f"recipe={other}", "learning_rates=[0.1]"]).learning_rates == (0.1,)
    assert changed(plan, [f"recipe={other}"]).learning_rates == plan.learning_rates


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["marathon"], "There is no race 'marathon'. Known: "),
        (["shapes", "--set", "minutes=["], "minutes cannot be read: '[' is not YAML. Write it as in a recipe."),
        (["shapes", "--set", "minutes"], "--set takes a rule of the race with its value, got 'minutes'."),
        (["shapes", "--set", "minutes=soon"], "minutes must be "),
        (["shapes", "--set", "entrants=3", "--entrants", "dgpo"], "entrants must be names, each with its settings"),
        (["shapes", "--set", "entrants={flow_grpo: {loss.beta: 3}}"], "Entrant flow_grpo: loss.beta is not a setting"),
        (["shapes", "--entrants", "ppo"], "shapes has no entrant ppo. Its entrants: dgpo"),
    ],
)
def test_the_command_ends_in_a_sentence_where_it_was_given_what_it_cannot_do(words, refused, kept_folder, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith(refused)
    assert said.count("\n") == 1


def test_some_of_the_entrants_may_race_alone():
    plan = changed(load_race("shapes"), [], ["flow_grpo", "dgpo"])
    assert [entrant.name for entrant in plan.entrants] == ["flow_grpo", "dgpo"]


def test_an_entrant_that_the_race_does_not_have_is_named():
    with pytest.raises(ConfigError, match=r"shapes has no entrant ppo\. Its entrants: dgpo"):
        changed(load_race("shapes"), [], ["ppo", "dgpo"])
