import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from lab_folder import wait_for, write_recipe

from app import __main__ as program
from app.__main__ import configured, main, opened_store
from app.recipes import load_recipe
from app.settings import Settings
from app.store.database import open_for_writing
from app.store.lock import LabLock
from app.store.reader import Reader
from app.store.rows import RunState, TrialWish
from benchmarks.port import free_port
from dgpo_core.config import from_dict
from dgpo_core.errors import ConfigError
from dgpo_core.recipe_check import cautions

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a command in a lab's folder, and returns the one sentence or two with which it is refused."""

    def run(*arguments, folder=None):
        assert main(["--folder", str(folder or tmp_path / "lab"), *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert err.count("\n") == 1
        return err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing"], "There is no recipe 'nothing'. Known: "),
        (["train", "no/such/file.yaml"], "There is no recipe 'no/such/file.yaml'"),
        (["train", "shapes", "--set", "loss.beta=3"], "loss.beta is not a setting. Did you mean"),
        (["train", "shapes", "--set", "loss=3"], "loss is not a setting."),
        (["train", "shapes", "--set", "rollout.group_size=1"], "rollout.group_size must be 2 to 256, got 1."),
        (
            ["train", "shapes", "--set", "rollout.group_size=many"],
            "rollout.group_size must be a whole number, got 'many'",
        ),
        (["train", "shapes", "--set", "loss.reference=none"], "loss.reference must be one of frozen, old_policy"),
        (["train", "shapes", "--set", "update.learning_rate=.nan"], "update.learning_rate must be a number, got nan"),
        (["train", "shapes", "--set", "seed"], "--set needs KEY=VALUE, got 'seed'. For example: --set schedule"),
        (["train", "shapes", "--set", "seed=[1"], "seed cannot be read: '[1' is not YAML. Write it as in a recipe."),
        (["train", "shapes", "--set", "name=a: b: c"], "name cannot be read: 'a: b: c' is not YAML."),
        (["train", "shapes", "--set", "name={a: 1}"], "name must be text, got {'a': 1}."),
        (["train", "shapes", "--set", "name="], "name must be text, got None."),
        (["train", "shapes", "--set", "name=' '"], "name must be 1 to 200 printable characters, got ' '."),
        (["--host", "0.0.0.0"], "host must be of this machine"),
        (["--port", "0"], "port must be 1 to 65535, got 0."),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(refused, arguments, message):
    assert refused(*arguments).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss: {kl_weight: 1}\nlos: 3\n", "los is not a setting. Did you mean loss?"),
        ("loss: 3\n", "loss must be a group of settings, got 3."),
        ("- a\n", "A recipe must be a group of settings"),
        ("a: [\n", "broken.yaml is not valid YAML in line 2"),
        (
            "schedule: {num_steps: 5, num_steps: 6}\n",
            "broken.yaml is not valid YAML in line 1: num_steps is given twice",
        ),
    ],
)
def test_a_broken_recipe_is_refused(refused, tmp_path, text, message):
    (tmp_path / "broken.yaml").write_text(text)
    assert refused("train", tmp_path / "broken.yaml").startswith(message)


def test_nothing_is_stored_of_a_run_that_is_refused(refused, tmp_path):
    refused("train", "shapes", "--set", "seed=-1")
    assert list((tmp_path / "lab").iterdir()) == []


def test_a_second_lab_on_the_folder_is_refused(refused, tmp_path):
    (tmp_path / "lab").mkdir()
    with LabLock(tmp_path / "lab", "lab"):
        assert refused().startswith(f"A lab is already open on {tmp_path / 'lab'} (process ")


def test_training_beside_a_run_is_refused(refused, tmp_path):
    (tmp_path / "lab").mkdir()
    with LabLock(tmp_path / "lab", "training"):
        message = refused("train", "shapes")
    assert message.startswith(f"A run is already training in {tmp_path / 'lab'} (process ")
    assert message.endswith("Wait for it or stop it first.\n")


@pytest.mark.parametrize("arguments", [[], ["train", "shapes"]])
@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_database_is_refused_and_can_be_set_aside(refused, tmp_path, arguments, content):
    database = tmp_path / "lab" / "lab.db"
    database.parent.mkdir()
    database.write_bytes(content)
    message = refused(*arguments)
    assert message.startswith(f"{database} is damaged or is not a database")
    assert message.endswith("Add --set-aside to move it away and begin a new one.\n")
    assert database.read_bytes() == content


def test_setting_a_damaged_database_aside_keeps_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "open_lab", lambda settings, options: 0)
    database = tmp_path / "lab.db"
    database.write_bytes(b"no database at all" * 100)
    assert main(["--folder", str(tmp_path), "--set-aside"]) == 0
    (aside,) = tmp_path.glob("lab.db.corrupt-*")
    assert capsys.readouterr().out == f"The damaged store was moved to {aside}. A new one begins.\n"
    assert aside.read_bytes() == b"no database at all" * 100


def test_a_trial_that_closing_cut_off_is_said_to_be_lost_when_the_lab_opens_again(tmp_path, monkeypatch):
    with opened_store(Settings(folder=tmp_path)) as (_, writer):
        writer.request_trial(TrialWish(reward="brightness"), [])
    monkeypatch.setattr("app.ui.build.serve", lambda lab: None)
    handler = signal.getsignal(signal.SIGTERM)
    assert main(["--folder", str(tmp_path)]) == 0
    signal.signal(signal.SIGTERM, handler)
    with opened_store(Settings(folder=tmp_path)) as (reader, _):
        assert [one.message for one in reader.trials()] == ["The lab was closed before this trial was done. Try again."]


def test_a_sound_database_is_not_set_aside(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "open_lab", lambda settings, options: 0)
    open_for_writing(tmp_path / "lab.db").close()
    assert main(["--folder", str(tmp_path), "--set-aside"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "lab.db").exists()


def test_no_database_is_set_aside_while_a_lab_is_open_on_it(refused, tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.db").write_bytes(b"no database at all" * 100)
    with LabLock(tmp_path / "lab", "lab"):
        assert "A lab is already open" in refused("--set-aside")
    assert (tmp_path / "lab" / "lab.db").exists()


def test_a_newer_database_is_refused(refused, tmp_path):
    database = tmp_path / "lab" / "lab.db"
    database.parent.mkdir()
    open_for_writing(database).close()
    with sqlite3.connect(database) as db:
        db.execute("UPDATE _sqlite_migrations SET name = 'm999_from_the_future' WHERE rowid = 1")
    db.close()
    assert refused("train", "shapes").startswith(f"{database} was written by a newer version of the lab (m999")


def test_a_folder_that_cannot_be_made_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "The lab cannot use" in refused(folder=tmp_path / "file" / "lab")
    assert refused(folder=tmp_path / "file").startswith("folder must be a folder, got the file")


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder that not even root may write to")
def test_a_folder_that_cannot_be_written_is_refused(refused):
    message = refused("train", "shapes", folder="/proc/sys")
    assert message.startswith("/proc/sys/lab.db cannot be opened. Its folder must exist and be readable and writable.")


def test_changes_are_read_as_in_a_recipe(tmp_path):
    (tmp_path / "own.yaml").write_text("name: mine\nloss: {kl_weight: 0.5}\n")
    changes = ["update.learning_rate=3e-4", "loss.clip_range = 0", "update.per_sigma=false", "name=a=b"]
    assert configured(str(tmp_path / "own.yaml"), changes) == from_dict(
        {
            "name": "a=b",
            "loss": {"kl_weight": 0.5, "clip_range": 0.0},
            "update": {"learning_rate": 3e-4, "per_sigma": False},
        }
    )


def test_the_last_of_two_changes_counts():
    assert configured("shapes", ["seed=1", "seed=2"]).seed == 2
    with pytest.raises(ConfigError, match=r"schedule\.num_step is not a setting\. Did you mean schedule\.num_steps\?"):
        configured("shapes", ["schedule.num_step=2"])


def test_a_headless_run_trains_into_the_store_and_says_how_it_ended(tmp_path, model_folder, capsys):
    recipe = write_recipe(tmp_path, model_folder)
    folder = tmp_path / "lab"
    assert main(["--folder", str(folder), "train", str(recipe), "--set", "name=headless"]) == 0
    out, err = capsys.readouterr()
    reader = Reader(folder / "lab.db")
    (run,) = reader.runs()
    reader.close()
    assert (run.name, run.state, run.step) == ("headless", RunState.FINISHED, 1)
    said = [
        f"held-out score after {step} steps: {score:.3f}" for step, score in ((0, run.first_score), (2, run.last_score))
    ]
    assert out.splitlines() == [
        *cautions(load_recipe(str(recipe))),
        *said,
        f"Run 1 finished after 2 of 2 steps, held-out score {run.first_score:.3f} -> {run.last_score:.3f}.",
    ]
    assert "2/2" in err


def test_a_headless_run_that_fails_says_why_and_ends_with_1(tmp_path, model_folder, capsys):
    recipe = write_recipe(tmp_path, model_folder, model={"folder": str(tmp_path / "nowhere")})
    assert main(["--folder", str(tmp_path / "lab"), "train", str(recipe)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith(f"Run 1 failed: There is no model in {tmp_path / 'nowhere'}")
    assert "Traceback" not in out + err


def test_a_trained_model_is_written_and_what_cannot_be_is_refused(refused, tmp_path, model_folder, capsys):
    lab, into = ["--folder", str(tmp_path / "lab")], tmp_path / "taken"
    assert main([*lab, "train", str(write_recipe(tmp_path, model_folder))]) == 0
    capsys.readouterr()
    assert main([*lab, "save", "1", str(into), "--step", "1", "--lora"]) == 0
    assert capsys.readouterr().out == (
        f"The LoRA of run 1 at step 1 is in {into}. In Python, pipeline.load_lora_weights({str(into)!r}, "
        'weight_name="pytorch_lora_weights.safetensors") puts it on its base.\n'
    )
    assert refused("save", "1", into) == f"{into} is there already. Name a folder that is not.\n"
    whole = tmp_path / "whole"
    assert main([*lab, "save", "1", str(whole)]) == 0
    assert capsys.readouterr().out.startswith(f"The model of run 1 at step 2 is in {whole}. In Python, ")
    assert (whole / "model_index.json").is_file()
    assert refused("save", "7", tmp_path / "other") == "There is no run 7. Known: 1.\n"
    assert refused("save", "1", tmp_path / "other", "--step", "5").endswith("Choose one of 1, 2.\n")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("command", ["save", "export"])
@pytest.mark.parametrize("number", ["9" * 19, "-1", "three"])
def test_a_run_that_no_number_names_is_refused(tmp_path, capsys, command, number):
    with pytest.raises(SystemExit) as ended:
        main([command, number, str(tmp_path / "into"), "--folder", str(tmp_path)])
    assert ended.value.code == 2
    assert "a run is named by its number" in capsys.readouterr().err


@pytest.fixture
def endless(tmp_path, model_folder):
    """The recipe of a run that is live until it is told to end."""
    return write_recipe(tmp_path, model_folder, schedule={"num_steps": 100_000, "checkpoint_every": 100_000})


def check_saved_and_stopped(folder, said):
    reader = Reader(folder / "lab.db")
    run, (saved,) = reader.run(1), reader.checkpoints(1)
    reader.close()
    assert (run.state, saved.step) == (RunState.STOPPED, run.step + 1)
    assert "Run 1 stopped after" in said
    assert "Traceback" not in said


def test_ctrl_c_ends_a_headless_run_saved_and_stopped(tmp_path, endless, capsys):
    folder, has_ended = tmp_path / "lab", Event()
    folder.mkdir()
    open_for_writing(folder / "lab.db").close()

    def press_ctrl_c_after_a_step():
        with closing(Reader(folder / "lab.db")) as reader:
            try:
                wait_for(lambda: has_ended.is_set() or reader.latest_step(1) is not None)
            finally:
                if not has_ended.is_set():
                    os.kill(os.getpid(), signal.SIGINT)

    # A shell starts what it runs in the background with Ctrl-C ignored, and so these tests, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = Thread(target=press_ctrl_c_after_a_step)
    thread.start()
    try:
        assert main(["--folder", str(folder), "train", str(endless)]) == 0
    except KeyboardInterrupt:
        pytest.fail("Ctrl-C went through the run instead of ending it")
    finally:
        has_ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    check_saved_and_stopped(folder, "".join(capsys.readouterr()))


def said_by_a_process_terminated_once(is_so, log, arguments):
    """All that a process of the lab said; it was terminated when is_so() held, and ended by itself."""
    command = [sys.executable, "-m", "app", *arguments]
    with log.open("w") as out:
        child = subprocess.Popen(
            command, cwd=PROJECT, stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    try:
        wait_for(is_so)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0, log.read_text()
    finally:
        child.kill()
        child.wait()
    return log.read_text()


def test_the_process_of_a_headless_run_that_is_terminated_ends_by_itself(tmp_path, endless):
    folder, log = tmp_path / "lab", tmp_path / "log"
    arguments = ["--folder", str(folder), "train", str(endless)]
    said = said_by_a_process_terminated_once(lambda: "1/100000" in log.read_text(), log, arguments)
    check_saved_and_stopped(folder, said)


def answers(port):
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_lab_that_is_ended_in_the_moment_it_opens_says_so_in_words(tmp_path):
    port = free_port()
    arguments = ["--folder", str(tmp_path / "lab"), "--port", str(port)]
    said = said_by_a_process_terminated_once(lambda: answers(port), tmp_path / "log", arguments)
    assert "Closing the lab" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("order", [["--folder", "there", "train", "shapes"], ["train", "shapes", "--folder", "there"]])
def test_options_of_the_lab_stand_before_or_after_a_command(order, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*order, "--set", "schedule.num_steps=0"]) == 2
    assert (tmp_path / "there").is_dir()
    assert not (tmp_path / "lab").exists()
