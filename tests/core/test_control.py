import pytest

from dgpo_core.control import SECONDS_BETWEEN_LOOKS, Control, StopRequested
from dgpo_core.events import Compare, Pause, Resume, SampleNow, SaveNow, Stop

SAMPLE, COMPARE = SampleNow(("a ring",), 1), Compare(1, None, 2, 3)


class Turns:
    """Gives the commands of one turn after another; every wait of the pause begins the next turn."""

    def __init__(self, *turns):
        self.turns, self.done, self.waits = [list(turn) for turn in turns], [], []
        self.control = Control(self.next_command, self.wait)

    def next_command(self):
        return self.turns[0].pop(0) if self.turns and self.turns[0] else None

    def wait(self, seconds):
        self.waits.append(seconds)
        self.turns.pop(0)

    def run_errands(self):
        self.control.run_errands(self.done.append, lambda: self.done.append("paused"))
        return self.done


def test_errands_are_run_in_order_and_once():
    turns = Turns([SaveNow(), SAMPLE, COMPARE, SaveNow()])
    assert turns.run_errands() == [SaveNow(), SAMPLE, COMPARE, SaveNow()]
    assert turns.run_errands() == [SaveNow(), SAMPLE, COMPARE, SaveNow()]
    assert turns.waits == []


def test_errands_asked_for_inside_a_step_wait_for_its_end():
    turns = Turns([SAMPLE])
    turns.control.look()
    assert turns.done == []
    assert turns.run_errands() == [SAMPLE]


def test_a_pause_waits_for_resume_and_still_runs_errands():
    turns = Turns([Pause()], [], [SAMPLE], [COMPARE, SaveNow()], [Resume()])
    assert turns.run_errands() == ["paused", SAMPLE, "paused", COMPARE, SaveNow(), "paused"]
    assert turns.waits == [SECONDS_BETWEEN_LOOKS] * 4
    assert not turns.control.is_paused


def test_errands_before_a_pause_are_run_before_it_is_told():
    turns = Turns([SAMPLE, Pause()], [Resume()])
    assert turns.run_errands() == [SAMPLE, "paused"]


def test_a_pause_that_comes_while_an_errand_runs_is_told():
    turns = Turns([SaveNow()], [Resume()])

    def run(errand):
        turns.done.append(errand)
        turns.turns[0].append(Pause())

    turns.control.run_errands(run, lambda: turns.done.append("paused"))
    assert turns.done == [SaveNow(), "paused"]


@pytest.mark.parametrize("commands", [[Pause(), Resume()], [Pause(), Pause(), Resume()], [Resume()], []])
def test_a_pause_taken_back_in_time_is_none(commands):
    turns = Turns(commands)
    assert turns.run_errands() == []
    assert turns.waits == []


@pytest.mark.parametrize("turns", [[[Stop()]], [[SAMPLE, Stop(), SaveNow()]], [[Pause()], [], [Stop()]]])
def test_a_stop_is_raised_whatever_else_waits(turns):
    turns = Turns(*turns)
    with pytest.raises(StopRequested):
        turns.run_errands()
    assert SAMPLE not in turns.done
