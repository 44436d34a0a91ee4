"""Races of the small model through the real runner and store."""

import pytest
import yaml
from lab_folder import opened, write_recipe

from app.race.conductor import Conductor
from app.race.plan import plan_of
from app.settings import Settings
from app.store.rows import RunState
from app.store.writer import Writer
from dgpo_core.errors import ConfigError, ExchangeError

QUICK = {
    "minutes": 0.01,
    "turn_minutes": 0.01,
    "tuning_minutes": 0.01,
    "pictures": 8,
    "examined_prompts": 2,
    "against": "nft",
}
NFT = {"algorithm.name": "diffusion_nft"}


@pytest.fixture
def race(tmp_path, model_folder):
    """Runs a race in a lab's folder to its end; the reader of what is stored, the race's id, what was said."""
    recipe = write_recipe(tmp_path, model_folder)
    labs = []

    def close_labs():
        while labs:
            labs.pop().__exit__(None, None, None)

    def run(**changes):
        plan = plan_of(QUICK | {"recipe": str(recipe), "entrants": {"dgpo": {}, "nft": NFT}} | changes, "small")
        said = []
        close_labs()
        opening = opened(tmp_path / "lab")
        runner, reader = opening.__enter__()
        labs.append(opening)
        with Writer(tmp_path / "lab" / "lab.db") as writer:
            conductor = Conductor(plan, runner=runner, reader=reader, writer=writer, say=said.append)
            conductor.run()
        return reader, conductor.race_id, said

    (tmp_path / "lab").mkdir()
    yield run
    close_labs()


def test_everyone_runs_in_turns_and_is_examined_after_each(race):
    reader, race_id, said = race(seeds=[0], minutes=10, turn_minutes=1e-4, pictures=40)
    runs = reader.race_runs(race_id)
    assert [run.entrant for run in runs] == ["dgpo", "nft"]
    for run in runs:
        assert run.points[0].step == 0
        assert len(run.points) > 2
        costs = [(point.seconds, point.pictures, point.network_evaluations) for point in run.points]
        assert costs == sorted(costs)
        assert run.points[-1].pictures == 8 * run.points[-1].step
        assert run.points[-1].network_evaluations > 2 * run.points[-1].pictures
    assert [line.split(",")[0] for line in said[:4]] == ["dgpo", "nft", "dgpo", "nft"]
    assert reader.races()[0].ended is not None
    assert {run.config["algorithm"]["name"] for run in reader.runs()} == {"dgpo", "diffusion_nft"}


def test_who_runs_alone_is_examined_turn_after_turn_without_a_stop(race):
    reader, race_id, said = race(seeds=[0], entrants={"nft": NFT}, minutes=10, turn_minutes=1e-4, pictures=40)
    (run,) = reader.race_runs(race_id)
    assert len(run.points) > 2
    assert run.points[-1].pictures == 40
    assert len(said) == 1, "one turn, however many examinations"
    saved = [entry.step for entry in reader.diary(run.run_id) if entry.kind == "saved"]
    assert saved == [point.step for point in run.points[1:]], "so that what was examined survives a kill"


def test_seed_follows_seed(race):
    reader, race_id, _ = race(seeds=[4, 1])
    entered = [(run.entrant, run.seed) for run in reader.race_runs(race_id)]
    assert entered == [("dgpo", 4), ("nft", 4), ("dgpo", 1), ("nft", 1)]


def test_every_rate_is_tried_and_the_best_one_races(race):
    reader, race_id, _ = race(seeds=[0], learning_rates=[1e-3, 1e-2])
    runs = reader.race_runs(race_id)
    tried = [(run.entrant, run.learning_rate) for run in runs if run.is_tuning]
    assert tried == [("dgpo", 1e-3), ("dgpo", 1e-2), ("nft", 1e-3), ("nft", 1e-2)]
    for entrant in ("dgpo", "nft"):
        ends = {run.learning_rate: run.points[-1].score for run in runs if run.is_tuning and run.entrant == entrant}
        (raced,) = [run.learning_rate for run in runs if not run.is_tuning and run.entrant == entrant]
        assert ends[raced] == max(ends.values())


@pytest.mark.parametrize(("limit", "drawn"), [(24, 24), (41, 48)])
def test_a_limit_of_pictures_ends_it_with_the_step_that_reaches_it(race, limit, drawn):
    """A step has 8 pictures; the trainer begins no other one while it is decided that there were enough."""
    reader, race_id, _ = race(seeds=[0], minutes=10, turn_minutes=10, pictures=limit)
    runs = reader.race_runs(race_id)
    assert [run.points[-1].pictures for run in runs] == [drawn, drawn]
    assert [reader.latest_step(run.run_id) for run in runs] == [drawn // 8 - 1] * 2


def test_groups_to_learn_from_are_drawn_by_the_base_before_the_race_and_once(race, tmp_path):
    folder = tmp_path / "groups"
    offline = {
        "seeds": [0],
        "against": "offline",
        "entrants": {"offline": {"rollout.stored_groups": str(folder)}},
        "prepare": {str(folder): {"schedule.num_steps": 2}},
    }
    reader, race_id, said = race(**offline)
    drawing, learning = sorted(reader.runs(), key=lambda run: run.id)
    assert said[:2] == [
        f"{folder} is not there, so the base draws the groups that are to be learned from.",
        f"{folder}: 4 groups, of run 1.",
    ]
    assert (drawing.name, drawing.state) == (f"small: groups for {folder}", RunState.FINISHED)
    assert drawing.config["update"]["learning_rate"] == 0
    stored = {sample.sha for step in (0, 1) for group in reader.groups(drawing.id, step) for sample in group.samples}
    learned = {sample.sha for group in reader.groups(learning.id, 0) for sample in group.samples}
    assert learned <= stored
    assert [run.run_id for run in reader.race_runs(race_id)] == [learning.id]
    _, _, said = race(**offline)
    assert [line.split(",")[0] for line in said] == ["offline"]


@pytest.mark.parametrize("change", ["settings", "note"])
def test_groups_that_were_drawn_otherwise_are_not_learned_from(race, tmp_path, change):
    folder = tmp_path / "groups"
    offline = {"seeds": [0], "against": "offline", "entrants": {"offline": {"rollout.stored_groups": str(folder)}}}
    race(**offline, prepare={str(folder): {"schedule.num_steps": 1}})
    if change == "note":
        (folder / "drawn-with.json").unlink()
    num_steps = 2 if change == "settings" else 1
    with pytest.raises(ConfigError, match=r"groups is there, but .* not drawn as the race has it\. Remove the folder"):
        race(**offline, prepare={str(folder): {"schedule.num_steps": num_steps}})


def test_a_race_whose_groups_cannot_be_drawn_says_so(race, tmp_path):
    folder = tmp_path / "groups"
    with pytest.raises(ConfigError, match=r"were not all drawn\. Run 1 failed: .*nowhere.* Start the race again"):
        race(
            entrants={"nft": NFT | {"rollout.stored_groups": str(folder)}},
            prepare={str(folder): {"model.folder": str(tmp_path / "nowhere")}},
        )
    assert not folder.exists()


def test_a_run_to_learn_from_that_is_not_there_is_said_before_anyone_trains(race):
    with pytest.raises(ExchangeError, match=r"There is no run 9\. Known: none\."):
        race(entrants={"dgpo": {}, "nft": NFT | {"rollout.stored_groups": "run:9"}})


def test_one_entrant_failing_leaves_the_others_running(race, tmp_path):
    missing = {"model.folder": str(tmp_path / "nowhere")}
    reader, race_id, said = race(seeds=[0], entrants={"dgpo": {}, "nft": NFT, "lost": missing})
    lost = next(run for run in reader.race_runs(race_id) if run.entrant == "lost")
    assert lost.has_failed
    assert "nowhere" in lost.message
    assert any(line.startswith("lost") and "failed" in line for line in said)
    assert all(run.points[-1].step > 0 for run in reader.race_runs(race_id) if run.entrant != "lost")


@pytest.mark.parametrize("entrants", [{"nft": NFT}, {"dgpo": {}, "nft": NFT}])
def test_an_entrant_whose_examination_has_no_score_is_out_at_once(race, tmp_path, model_folder, entrants):
    (tmp_path / "mine.py").write_text("def silent(images, prompts):\n    return [None] * len(images)\n")
    write_recipe(tmp_path, model_folder, reward={"evaluation": f"{tmp_path / 'mine.py'}:silent"})
    reader, race_id, said = race(seeds=[0], entrants=entrants, minutes=10, turn_minutes=10, pictures=80)
    assert reader.races()[0].ended is not None
    assert [(run.has_failed, len(run.points)) for run in reader.race_runs(race_id)] == [(True, 0)] * len(entrants)
    assert all((reader.latest_step(run.id) or 0) < 9 for run in reader.runs())
    words = "failed. An examination had no score, as reward.evaluation had no opinion on any of its pictures. Try that"
    assert [line for line in said if words not in line] == []


def test_a_race_in_which_nobody_can_run_says_so(race, tmp_path):
    missing = {"model.folder": str(tmp_path / "nowhere")}
    with pytest.raises(ConfigError, match="No entrant finished with any learning rate"):
        race(entrants={"nft": missing}, learning_rates=[1e-3, 1e-2])


@pytest.fixture
def cut_before(monkeypatch):
    """Has the race end, as by Ctrl-C, before its turn of this number."""

    def cut_before(number):
        turns, turn = [], Conductor._take_turn

        def cut(self, place, minutes, **others):
            turns.append(place)
            if len(turns) == number:
                monkeypatch.setattr(Conductor, "_take_turn", turn)
                raise KeyboardInterrupt
            turn(self, place, minutes, **others)

        monkeypatch.setattr(Conductor, "_take_turn", cut)

    return cut_before


def test_a_race_that_was_cut_short_goes_on_and_a_finished_one_begins_anew(race, cut_before):
    cut_before(2)
    with pytest.raises(KeyboardInterrupt):
        race(seeds=[0])
    reader, race_id, _ = race(seeds=[0])
    assert (race_id, len(reader.race_runs(race_id)), len(reader.races())) == (1, 2, 1)
    _, again, _ = race(seeds=[0])
    assert again == 2


def test_a_race_whose_recipe_was_changed_since_it_was_cut_short_begins_anew(race, cut_before, tmp_path, model_folder):
    cut_before(2)
    with pytest.raises(KeyboardInterrupt):
        race(seeds=[0])
    write_recipe(tmp_path, model_folder, loss={"kl_weight": 0.7})
    reader, race_id, _ = race(seeds=[0])
    assert race_id == 2
    assert {run.config["loss"]["kl_weight"] for run in reader.runs() if run.id > 1} == {0.7}


def test_an_entrant_whose_checkpoint_is_lost_is_out_and_the_others_go_on(race, cut_before, tmp_path):
    turns = {"seeds": [0], "minutes": 10, "turn_minutes": 1e-4, "pictures": 24}
    cut_before(3)
    with pytest.raises(KeyboardInterrupt):
        race(**turns)
    for file in Settings(folder=tmp_path / "lab").checkpoints(1).rglob("tensors.safetensors"):
        file.write_bytes(b"")
    reader, race_id, said = race(**turns)
    lost, other = reader.race_runs(race_id)
    assert lost.has_failed
    assert "no checkpoint in" in lost.message
    assert any(line.startswith("dgpo") and "failed. Run 1 cannot go on" in line for line in said)
    assert other.points[-1].pictures == 24


@pytest.mark.parametrize("cut_at", [144, 160])
def test_steps_of_a_turn_that_was_cut_short_count_towards_the_budget(race, monkeypatch, cut_at):
    """Of 20 steps of 8 pictures each, cut after 18 or all and before their examination, only those left are made."""
    turns = {"seeds": [0], "entrants": {"nft": NFT}, "minutes": 10, "turn_minutes": 10, "pictures": 160}
    enough = Conductor._is_enough

    def cut(self, seconds, pictures, minutes):
        if pictures == cut_at:
            raise KeyboardInterrupt
        return enough(self, seconds, pictures, minutes)

    monkeypatch.setattr(Conductor, "_is_enough", cut)
    with pytest.raises(KeyboardInterrupt):
        race(**turns)
    monkeypatch.setattr(Conductor, "_is_enough", enough)
    reader, race_id, _ = race(**turns)
    (run,) = reader.race_runs(race_id)
    assert (run.points[-1].step, run.points[-1].pictures) == (20, 160)


def test_the_command_prints_the_standings(tmp_path, model_folder, capsys):
    from app.__main__ import main

    plan = QUICK | {
        "pictures": 0,  # so that it is the minutes that end it
        "recipe": str(write_recipe(tmp_path, model_folder)),
        "seeds": [0],
        "entrants": {"dgpo": {}, "nft": NFT},
    }
    path = tmp_path / "sprint.yaml"
    path.write_text(yaml.safe_dump(plan))
    assert main(["race", str(path), "--folder", str(tmp_path / "lab")]) == 0
    out = capsys.readouterr().out
    assert "| entrant | rate | best score |" in out
    assert "| nft | 0.01 |" in out
    assert "Target: for each seed the best score of nft, " in out


def test_the_command_refuses_a_plan_that_cannot_be_run(tmp_path, capsys):
    from app.__main__ import main

    assert main(["race", "marathon", "--folder", str(tmp_path / "lab")]) == 2
    assert "There is no race 'marathon'. Known: ablations, shapes; or give the path" in capsys.readouterr().err
