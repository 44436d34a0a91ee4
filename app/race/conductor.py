"""Runs a race: every entrant in turns through the lab's own runner, so that the machine's moods hit all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from queue import Empty, Queue
from threading import Event as Flag
from typing import Self

from app.command_feed import SECONDS_BETWEEN_READS
from app.endings import end_in_words
from app.exchange.export import export_groups
from app.exchange.stored_run import check_named_run
from app.race.plan import Entrant, Preparation, RacePlan
from app.race.prepared import check_drawn, note_drawn
from app.race.result import best_learning_rate
from app.runner import Runner
from app.store.reader import Reader
from app.store.requests import RacePlace
from app.store.rows import RaceRow, RaceRunRow, RunState
from app.store.writer import Writer
from dgpo_core.config import to_dict
from dgpo_core.errors import CheckpointError, ConfigError, StoreError
from dgpo_core.events import Command, EvaluationDone, Event, ExamineNow, RunFailed, RunStarted, SaveNow, StepDone, Stop

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_END = 5.0
EVERY_STEP = 10**9
NO_SCORE = (
    "An examination had no score, as reward.evaluation had no opinion on any of its pictures. Try that reward on the "
    "Rewards tab, then race again."
)


def is_as_planned(race: RaceRow, plan: RacePlan, reader: Reader) -> bool:
    """Whether a stored race is of this plan, and its runs have the settings that they would be given now.

    They have not where the recipe of the plan, or what a setting means, was changed since.
    """
    if (race.name, race.plan) != (plan.name, plan.as_dict()):
        return False
    entrants = {entrant.name: entrant for entrant in plan.entrants}
    for entered in reader.race_runs(race.id):
        run = reader.run(entered.run_id)
        now = plan.config_of(entrants[entered.entrant], learning_rate=entered.learning_rate, seed=entered.seed)
        if run is None or run.config != to_dict(now):
            return False
    return True


class Conductor:
    """Takes a race to its end, or on from where it was cut short. say hears what happens, one line at a time."""

    def __init__(
        self, plan: RacePlan, *, runner: Runner, reader: Reader, writer: Writer, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._runner, self._reader, self._writer, self._say = runner, reader, writer, say
        self.race_id = self._unfinished() or writer.create_race(plan.name, plan.as_dict())

    def run(self) -> None:
        """Prepares, tries the learning rates, then races seed by seed, so that whole seeds are there early.

        Raises:
            ConfigError: groups to learn from could not be drawn, or are there and were drawn otherwise; or every
                learning rate of every entrant failed.
            ExchangeError: they could not be written, or an entrant learns from a run that is not there or has none.
            StoreError: the store cannot be used, or another run is live.
        """
        first_rate, first_seed = self._plan.learning_rates[0], self._plan.seeds[0]
        for entrant in self._plan.entrants:
            config = self._plan.config_of(entrant, learning_rate=first_rate, seed=first_seed)
            check_named_run(config, self._reader)
        for preparation in self._plan.preparations:
            self._prepare(preparation)
        rules, entrants = self._plan.rules, self._plan.entrants
        if len(self._plan.learning_rates) > 1:
            tuning = [
                self._place(entrant, rate, rules.tuning_seed, is_tuning=True)
                for entrant, rate in product(entrants, self._plan.learning_rates)
            ]
            self._take_turns(tuning, rules.tuning_minutes)
        rates = {entrant.name: best_learning_rate(self._plan, entrant.name, self._runs()) for entrant in entrants}
        if not any(rates.values()):
            raise ConfigError(
                "No entrant finished with any learning rate, so there is no race. See the runs' messages."
            )
        for seed in self._plan.seeds:
            racing = [
                self._place(entrant, rate, seed, is_tuning=False)
                for entrant in entrants
                if (rate := rates[entrant.name]) is not None
            ]
            self._take_turns(racing, rules.minutes)
        self._writer.end_race(self.race_id)

    def _prepare(self, preparation: Preparation) -> None:
        """Has the base draw groups, to the end of a run or not at all, and writes them into their folder.

        Where the folder is there already, it is looked at whether they were drawn as the plan has it.
        """
        folder, config = preparation.folder, self._plan.drawing_config(preparation)
        if Path(folder).exists():
            check_drawn(Path(folder), config)
            return
        self._say(f"{folder} is not there, so the base draws the groups that are to be learned from.")
        run_id = self._runner.start(config)
        while not self._runner.wait(SECONDS_BETWEEN_LOOKS):
            pass
        run = self._reader.run(run_id)
        if run is None or run.state != RunState.FINISHED:
            how = "" if run is None else f" {end_in_words(run)}"
            raise ConfigError(f"The groups for {folder} were not all drawn.{how} Start the race again.")
        count = export_groups(self._reader, run_id, Path(folder))
        note_drawn(Path(folder), config)
        self._say(f"{folder}: {count} groups, of run {run_id}.")

    @staticmethod
    def _place(entrant: Entrant, rate: float, seed: int, *, is_tuning: bool) -> RacePlace:
        return RacePlace(entrant=entrant.name, learning_rate=rate, seed=seed, is_tuning=is_tuning)

    def _unfinished(self) -> int | None:
        """The newest race of this very plan that is not over."""
        cut_short = (race for race in self._reader.races() if race.ended is None)
        return next((race.id for race in cut_short if is_as_planned(race, self._plan, self._reader)), None)

    def _runs(self) -> list[RaceRunRow]:
        return self._reader.race_runs(self.race_id)

    def _run_at(self, place: RacePlace) -> RaceRunRow | None:
        known = (place.entrant, place.learning_rate, place.seed, place.is_tuning)
        return next(
            (run for run in self._runs() if (run.entrant, run.learning_rate, run.seed, run.is_tuning) == known), None
        )

    def _take_turns(self, places: Sequence[RacePlace], minutes: float) -> None:
        """Round after round until everyone has trained for so long, had enough pictures, or failed."""
        while waiting := [place for place in places if not self._is_over(place, minutes)]:
            for place in waiting:
                self._take_turn(place, minutes, is_alone=len(waiting) == 1)

    def _is_over(self, place: RacePlace, minutes: float) -> bool:
        run = self._run_at(place)
        if run is None:
            return False
        return run.has_failed or (bool(run.points) and self._is_enough(run.points[-1].seconds, _pictures(run), minutes))

    def _is_enough(self, seconds: float, pictures: int, minutes: float) -> bool:
        limit = self._plan.rules.pictures
        return seconds >= 60 * minutes or (limit > 0 and pictures >= limit)

    def _take_turn(self, place: RacePlace, minutes: float, *, is_alone: bool) -> None:
        """Trains one entrant for a turn, examines it, and stops it; for turn after turn where nobody else waits.

        An entrant that cannot go on is out.
        """
        with _Heard() as heard:
            run_id = self._begin(place, heard)
            if run_id is not None and not self._follow(run_id, heard, minutes, is_alone=is_alone):
                self._put_out(run_id, NO_SCORE)
        self._tell(place)

    def _begin(self, place: RacePlace, heard: _Heard) -> int | None:
        """Has the run begin or go on; None where it cannot go on, which puts it out."""
        run = self._run_at(place)
        if run is None:
            entrant = next(one for one in self._plan.entrants if one.name == place.entrant)
            config = self._plan.config_of(entrant, learning_rate=place.learning_rate, seed=place.seed)
            run_id = self._runner.start(config, heard.tell)
            self._writer.enter(self.race_id, run_id, place)
            return run_id
        try:
            return self._runner.resume(run.run_id, heard.tell)
        except CheckpointError as error:
            self._put_out(run.run_id, str(error))
            return None

    def _put_out(self, run_id: int, why: str) -> None:
        """Has a run that is over count as failed."""
        step = self._reader.latest_step(run_id) or 0
        self._writer.record(run_id, RunFailed(step=step, message=why, details=""))
        self._writer.flush()

    def _follow(self, run_id: int, heard: _Heard, minutes: float, *, is_alone: bool) -> bool:
        """Hears the run for a turn, or turn after turn, each with its examination; then has it stopped.

        Returns when its thread ended, whether every examination had a score.
        """
        spent, goal, is_asked, is_scored = _Spent(), minutes, False, True
        for event in heard.until(lambda: self._runner.wait(0)):
            if isinstance(event, RunStarted):
                spent = self._spent_before(run_id, event.first_step)
                goal = self._end_of_turn(spent, minutes)
            elif isinstance(event, StepDone):
                spent.add(event.metrics.step_seconds, sum(len(group.samples) for group in event.groups))
            elif isinstance(event, EvaluationDone) and event.score is None:
                is_scored = False
                self._send(run_id, Stop())
            elif isinstance(event, EvaluationDone) and is_asked:
                if not is_alone or self._is_enough(spent.seconds, spent.pictures, minutes):
                    self._send(run_id, Stop())
                else:
                    goal, is_asked = self._end_of_turn(spent, minutes), False
                    self._ask(run_id, SaveNow())  # no stop saves it, and a process that is killed loses the rest
            # At the start too: a turn may have been cut between its last step and its examination.
            if isinstance(event, RunStarted | StepDone) and not is_asked:
                is_asked = self._is_enough(spent.seconds, spent.pictures, goal)
                if is_asked:
                    self._ask(run_id, ExamineNow())
        return is_scored

    def _spent_before(self, run_id: int, first_step: int) -> _Spent:
        """What the steps so far took, those after the last examination too: a turn may have been cut short."""
        spent = _Spent()
        for row in self._reader.steps(run_id, limit=EVERY_STEP):
            if row.step < first_step:
                spent.add(row.metrics.step_seconds, row.pictures)
        return spent

    def _end_of_turn(self, spent: _Spent, minutes: float) -> float:
        return min(minutes, spent.seconds / 60 + self._plan.rules.turn_minutes)

    def _ask(self, run_id: int, command: Command) -> None:
        """Hands over a command that is to be obeyed before the next step: the run waits until it is sure to be read."""
        self._send(run_id, command)
        time.sleep(SECONDS_BETWEEN_READS)

    def _send(self, run_id: int, command: Command) -> None:
        """Hands over a command; a run that has failed meanwhile needs none."""
        try:
            self._runner.send(run_id, command)
        except StoreError:
            if not self._runner.wait(SECONDS_TO_END):
                raise

    def _tell(self, place: RacePlace) -> None:
        run = self._run_at(place)
        what = (
            f"{place.entrant}, rate {place.learning_rate:g}, seed {place.seed}{' (tuning)' if place.is_tuning else ''}"
        )
        if run is None or run.has_failed or not run.points:
            self._say(f"{what}: failed. {run.message if run else ''}")
        else:
            point = run.points[-1]
            self._say(f"{what}: {point.score:.3f} after {point.seconds / 60:.1f} minutes, {point.step} steps")


class _Heard:
    """What a run tells, event by event, until this is left.

    After an event on which a command may follow, the training thread waits until it has been dealt with: else it would
    have begun the next step, or be several on, by the time that the command comes.
    """

    def __init__(self) -> None:
        self._told: Queue[tuple[Event, Flag]] = Queue()
        self._is_left = Flag()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left.set()

    def tell(self, event: Event) -> None:
        """Hands over an event, in the training thread."""
        is_dealt_with = Flag()
        self._told.put((event, is_dealt_with))
        if isinstance(event, RunStarted | StepDone | EvaluationDone):
            while not (is_dealt_with.wait(SECONDS_BETWEEN_LOOKS) or self._is_left.is_set()):
                pass

    def until(self, has_ended: Callable[[], bool]) -> Iterator[Event]:
        """The events as they come, each dealt with when the next one is asked for."""
        while not (has_ended() and self._told.empty()):
            try:
                event, is_dealt_with = self._told.get(timeout=SECONDS_BETWEEN_LOOKS)
            except Empty:
                continue
            yield event
            is_dealt_with.set()


class _Spent:
    """Seconds of steps and pictures of one run so far."""

    def __init__(self) -> None:
        self.seconds, self.pictures = 0.0, 0

    def add(self, seconds: float, pictures: int) -> None:
        self.seconds += seconds
        self.pictures += pictures


def _pictures(run: RaceRunRow) -> int:
    return run.points[-1].pictures if run.points else 0
