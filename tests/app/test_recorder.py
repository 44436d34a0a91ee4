"""A store that cannot write makes the run wait."""

import pytest

from app.recorder import Patience, Recorder
from app.stops import Stops
from app.store.writer import Writer
from dgpo_core.errors import CheckpointError, StoreError, UnstorableError
from dgpo_core.events import Warned

EVENT = Warned(step=0, message="hello")


class FullDisk:
    """A writer whose disk is full for the first few events."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.written: list[tuple[int, Warned]] = []
        self.agreements: list[list] = []

    def record(self, run_id: int, event: Warned) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("The disk is full.")
        self.written.append((run_id, event))

    def flush(self) -> None:
        self.record(0, EVENT)

    def put_agreements(self, agreements: list) -> None:
        self.record(0, EVENT)
        self.agreements.append(agreements)


def test_an_event_is_given_again_until_there_is_room_and_the_trouble_is_said_meanwhile():
    disk, said = FullDisk(refusals=3), []
    recorder = Recorder(disk, 7, patience=Patience(wait=lambda seconds: said.append(recorder.trouble)))
    recorder.record(EVENT)
    assert disk.written == [(7, EVENT)]
    assert said == ["The disk is full. The run waits and goes on by itself."] * 3
    assert recorder.trouble == ""


def test_agreements_wait_for_room_too():
    disk, waits = FullDisk(refusals=2), []
    Recorder(disk, 7, patience=Patience(wait=waits.append)).put_agreements([])
    assert (disk.agreements, len(waits)) == ([[]], 2)


def test_the_store_is_read_with_the_same_patience():
    tries, waits = [], []

    def commands_after(run_id, last_id):
        tries.append((run_id, last_id))
        if len(tries) < 3:
            raise StoreError("It was moved away.")
        return ["a command"]

    recorder = Recorder(FullDisk(refusals=0), 7, patience=Patience(wait=waits.append))
    assert recorder.patient(commands_after)(7, 1) == ["a command"]
    assert (tries, waits) == ([(7, 1)] * 3, [2.0, 2.0])


def test_patience_ends():
    recorder = Recorder(FullDisk(refusals=100), 7, patience=Patience(num_tries=5, seconds=0))
    with pytest.raises(StoreError, match="disk is full"):
        recorder.flush()
    assert recorder.trouble == "", "nothing waits any more, so nothing may be said to wait"


def test_an_event_that_no_try_can_store_is_not_waited_for(tmp_path):
    waits = []
    with Writer(tmp_path / "lab.db") as writer:
        recorder = Recorder(writer, writer.create_run({"name": "a run"}, 10), patience=Patience(wait=waits.append))
        recorder.record(Warned(step=0, message="half \ud83d"))
        with pytest.raises(UnstorableError, match="half a character"):
            recorder.flush()
        recorder.record(EVENT)
        recorder.flush()
    assert (waits, recorder.trouble) == ([], "")


def test_ten_minutes_are_the_patience():
    waits = []
    recorder = Recorder(FullDisk(refusals=1000), 7, patience=Patience(wait=waits.append))
    with pytest.raises(StoreError, match="disk is full"):
        recorder.flush()
    assert sum(waits) == pytest.approx(600, abs=2)


def test_a_checkpoint_waits_for_room_too():
    waits, tries = [], []

    def save():
        tries.append(1)
        if len(tries) < 3:
            raise CheckpointError("No room for the checkpoint.")

    Recorder(FullDisk(refusals=0), 7, patience=Patience(wait=waits.append)).patiently(save)
    assert (len(tries), waits) == (3, [2.0, 2.0])


def test_after_a_stop_it_still_waits_to_save_and_a_second_stop_ends_that_at_once():
    stops, said = Stops(), []

    def wait(seconds):
        said.append(recorder.trouble)
        if len(said) > 1:
            stops.ask()

    recorder = Recorder(FullDisk(refusals=100), 7, patience=Patience(wait=wait), stops=stops)
    with pytest.raises(StoreError, match="disk is full"):
        recorder.record(EVENT)
    assert said == [
        "The disk is full. The run waits and goes on by itself.",
        "The disk is full. The run waits and goes on by itself.",
        "The disk is full. The run waits to be saved and ended. "
        "A second Stop ends it at once and loses what is not saved.",
    ]
    assert recorder.trouble == ""
