"""Runs on a disk that refuses to be written, for a while or for good."""

from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from lab_folder import PATIENCE_SECONDS, is_training, wait_for
from watched import Disk, watched_by

from app.__main__ import opened_runner
from app.endings import end_in_words, failure
from app.recorder import Patience
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import RunState
from app.store.writer import Writer
from app.troubles import GOES_ON, WAITS, trouble_after, troubles_said
from dgpo_core.errors import StoreError
from dgpo_core.events import CheckpointSaved, Pause, Phase, PhaseChanged, RunFailed, Stop

SOON = Patience(num_tries=3000, seconds=0.02)
SHORT = Patience(num_tries=3, seconds=0.0)
REFUSED = "could not be read or written: disk I/O error. Try again."


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def lab_on(tmp_path, disk):
    """Opens a runner on a store that lies on the disk; a run has that patience."""

    @contextmanager
    def opened(patience):
        settings = Settings(folder=tmp_path)
        with Writer(settings.database, opener=watched_by(disk)) as writer:
            reader = Reader(settings.database)
            runner = Runner(settings, reader, writer, patience)
            try:
                yield runner, reader, writer
            finally:
                disk.heal()
                runner.close()
                reader.close()

    return opened


def test_what_keeps_a_run_waiting_is_said_until_it_goes_on_by_itself(lab_on, disk, config_of, tmp_path):
    said = []

    def fail_in_the_first_step(event):
        if isinstance(event, PhaseChanged) and event.step == 0 and not said:
            disk.break_after(0)

    def say(words):
        said.append(words)
        if words.endswith("goes on by itself."):
            disk.heal()

    with lab_on(SOON) as (runner, reader, _), troubles_said(runner.trouble, say):
        run_id = runner.start(config_of(), on_event=fail_in_the_first_step)
        assert runner.wait(PATIENCE_SECONDS)
        assert reader.run(run_id).state is RunState.FINISHED
        assert [row.step for row in reader.steps(run_id)] == [0, 1]
        assert runner.trouble() == ""
    waits = f"{WAITS}{tmp_path / 'lab.db'} {REFUSED} The run waits and goes on by itself."
    assert said[-2:] == [waits, GOES_ON]
    assert said.count(waits) == 1


def test_a_run_waits_for_a_store_that_was_moved_away_for_a_while(lab_on, config_of, tmp_path):
    store, away, said = tmp_path / "lab.db", tmp_path / "away.db", []

    def move_away_in_the_first_step(event):
        if isinstance(event, PhaseChanged) and event.phase is Phase.UPDATING and not said and store.exists():
            store.rename(away)

    def say(words):
        said.append(words)
        if words.endswith("goes on by itself."):
            away.rename(store)

    with lab_on(SOON) as (runner, reader, _), troubles_said(runner.trouble, say):
        run_id = runner.start(config_of(), on_event=move_away_in_the_first_step)
        assert runner.wait(PATIENCE_SECONDS)
        assert reader.run(run_id).state is RunState.FINISHED
        assert [row.step for row in reader.steps(run_id)] == [0, 1]
    assert said[-1] == GOES_ON


def test_how_a_run_ended_is_known_also_where_the_store_cannot_be_read():
    def unreadable():
        raise StoreError("It was moved away.")

    assert failure(StoreError("It was moved away."), unreadable) == replace(
        failure(StoreError("It was moved away."), lambda: None), step=0
    )


def test_a_run_whose_patience_ended_has_failed_as_soon_as_that_can_be_written(lab_on, disk, config_of, tmp_path):
    heard = []

    def fail_after_a_step(event):
        heard.append(event)
        if isinstance(event, CheckpointSaved):
            disk.break_after(0)

    with lab_on(SHORT) as (runner, reader, writer):
        run_id = runner.start(config_of(), on_event=fail_after_a_step)
        assert runner.wait(PATIENCE_SECONDS)
        assert isinstance(heard[-1], RunFailed)
        assert runner.trouble() == f"{tmp_path / 'lab.db'} {REFUSED}"
        said = f"Run {run_id} has ended, but how could not be stored. Resume it from its last checkpoint."
        assert end_in_words(reader.run(run_id)) == said
        disk.heal()
        writer.flush()
        run = reader.run(run_id)
        assert (run.state, run.message) == (RunState.FAILED, f"{tmp_path / 'lab.db'} {REFUSED}")
        assert runner.trouble() == ""
        runner.resume(run_id)
        assert runner.wait(PATIENCE_SECONDS)
        assert reader.run(run_id).state is RunState.FINISHED


def test_a_run_that_ended_stays_so_where_that_can_only_be_written_later(lab_on, disk, config_of):
    def fail_before_the_end(event):
        if isinstance(event, CheckpointSaved) and event.step == 2:
            writer.flush()
            disk.break_after(0)

    with lab_on(SHORT) as (runner, reader, writer):
        run_id = runner.start(config_of(), on_event=fail_before_the_end)
        assert runner.wait(PATIENCE_SECONDS)
        assert reader.run(run_id).state.is_live
        disk.heal()
        writer.flush()
        assert reader.run(run_id).state is RunState.FINISHED


def test_a_comparison_that_cannot_be_called_off_leaves_a_finished_run_finished(lab_on, disk, config_of):
    asked = []

    def ask_too_late(event):
        if isinstance(event, CheckpointSaved) and event.step == 2:
            asked.append(runner.request_comparison(1, None, 1, 0))
            disk.break_at("UPDATE comparisons SET message")

    with lab_on(SHORT) as (runner, reader, writer):
        run_id = runner.start(config_of(), on_event=ask_too_late)
        assert runner.wait(PATIENCE_SECONDS)
        assert reader.run(run_id).state is RunState.FINISHED
        assert reader.comparison(asked[0]).message == ""
        disk.heal()
        writer.flush()
        assert reader.run(run_id).state is RunState.FINISHED
        assert reader.comparison(asked[0]).message.startswith("The run ended before this comparison was drawn.")


def test_a_command_that_waits_when_the_disk_fills_is_obeyed_when_there_is_room(lab_on, disk, endless):
    with lab_on(SOON) as (runner, reader, _):
        run_id = runner.start(endless)
        wait_for(is_training(reader, run_id))
        disk.break_at("UPDATE commands SET finished")
        runner.send(run_id, Pause())
        wait_for(lambda: runner.trouble().endswith("goes on by itself."))
        disk.heal()
        wait_for(lambda: reader.run(run_id).state is RunState.PAUSED)


@pytest.mark.parametrize("is_insisted", [False, True])
def test_a_stop_waits_for_room_to_save_and_a_second_one_does_not(lab_on, endless, tmp_path, is_insisted):
    with lab_on(SOON) as (runner, reader, _):
        run_id = runner.start(endless)
        wait_for(is_training(reader, run_id))
        obstacle = runner.checkpoints(run_id)
        obstacle.parent.mkdir(parents=True, exist_ok=True)
        obstacle.write_text("in the way")
        runner.send(run_id, Stop())
        wait_for(lambda: "A second Stop ends it at once and loses what is not saved." in runner.trouble())
        assert reader.run(run_id).state.is_live
        if is_insisted:
            runner.send(run_id, Stop())
            assert runner.wait(PATIENCE_SECONDS)
            assert reader.run(run_id).state is RunState.FAILED
            assert "could not be written" in reader.run(run_id).message
        else:
            obstacle.unlink()
            assert runner.wait(PATIENCE_SECONDS)
            run = reader.run(run_id)
            assert (run.state, reader.checkpoints(run_id)[-1].step) == (RunState.STOPPED, run.step + 1)


def test_what_a_process_waits_for_is_heard_in_what_it_says():
    heard = [""]
    for line in ("a, seed 0: 0.5", f"{WAITS}full.", f"{WAITS}fuller.", "a, seed 1: 0.6", GOES_ON, "a, seed 2: 0.7"):
        heard.append(trouble_after(line, heard[-1]))
    assert heard == ["", "", "full.", "fuller.", "fuller.", "", ""]


def test_the_terminal_says_what_a_run_waits_for(tmp_path, disk, config_of, capsys):
    said = []

    def heard():
        said.extend(capsys.readouterr().out.splitlines())
        return any(line.endswith(" The run waits and goes on by itself.") for line in said)

    database = tmp_path / "lab.db"
    with Writer(database, opener=watched_by(disk)) as writer, closing(Reader(database)) as reader:
        with opened_runner(Settings(folder=tmp_path), reader, writer) as runner:
            run_id = runner.start(config_of(schedule={"num_steps": 100_000, "checkpoint_every": 100_000}))
            wait_for(is_training(reader, run_id))
            disk.break_after(0)
            wait_for(heard)
            disk.heal()
        assert reader.run(run_id).state is RunState.STOPPED
    waits = [line for line in said if line != GOES_ON]
    assert {line.partition(" The run waits")[0] for line in waits} == {f"{WAITS}{database} {REFUSED}"}
