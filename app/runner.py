"""The background training thread, and everything the page may ask of it.

One run at a time in a folder, whichever process trains it. The thread is handed commands through
the store, so a run of another process obeys the same page.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread

from app.command_feed import CommandFeed
from app.endings import failure, in_words
from app.race.child import RaceChild
from app.reckoning import Peak, Reckoning, gpu_peak
from app.recorder import TEN_MINUTES, Patience, Recorder
from app.saving_child import SavingChild
from app.settings import Settings
from app.stops import Stops
from app.store.lock import LabLock
from app.store.reader import Reader
from app.store.rows import RunRow, Said, TrialWish
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.errors import CheckpointError, StoreError
from dgpo_core.events import Command, Compare, ComparisonFailed, Drawing, Event, Phase, PhaseChanged, Stop, Warned
from dgpo_core.recipe_check import cautions, check

SECONDS_TO_STOP = 60.0
SECONDS_TO_LET_GO = 1.0
SECONDS_BETWEEN_WATCHES = 5.0
_NEVER_DRAWN = "The run ended before this comparison was drawn. Ask for it again."
_CLOSED = "The lab was closed while this comparison was drawn. Ask for it again."
_TRIAL_CLOSED = "The lab was closed while this reward was tried. Try it again."
OnEvent = Callable[[Event], None]


class Runner:
    """Starts, resumes and ends runs in a thread of its own. Any thread may call any method."""

    def __init__(
        self, settings: Settings, reader: Reader, writer: Writer, patience: Patience = TEN_MINUTES, gpu: Peak = gpu_peak
    ) -> None:
        self._settings, self._reader, self._writer, self._patience = settings, reader, writer, patience
        self._one_at_a_time = Lock()
        self._training = LabLock(settings.folder, "training")
        self._has_ended = Flag()
        self._has_ended.set()
        self._recorder: Recorder | None = None
        self._stops = Stops()
        self._is_closing = Flag()
        self._race = RaceChild(settings, reader)
        self.saving = SavingChild(settings, reader)
        self._is_trying = Lock()
        self._memory = Reckoning(settings.folder, gpu)
        self._mark_interrupted()
        self._watch = Thread(target=self._watch_for_lost_runs, name="watch", daemon=True)
        self._watch.start()

    def start(self, config: RunConfig, on_event: OnEvent | None = None) -> int:
        """Begins a run and returns its id; on_event also hears its events, in the training thread.

        Raises:
            StoreError: another run is live, in this process or another; the message says whose.
            ConfigError: settings contradict each other.
            ExchangeError: they name a run to learn from that is not there, or has no groups.
        """
        check(config)
        if config.rollout.stored_groups:
            from app.exchange.stored_run import check_named_run

            check_named_run(config, self._reader)
        with self._one_at_a_time, self._reserved():
            run_id = self._writer.create_run(to_dict(config), config.schedule.num_steps)
            self._begin_training(run_id, config, None, on_event)
            return run_id

    def resume(self, run_id: int, on_event: OnEvent | None = None) -> int:
        """Goes on from the run's newest whole checkpoint, or from its start where it never had one.

        Raises:
            StoreError: another run is live.
            CheckpointError: the newest one cannot be read, or none is whole: beginning anew would delete all that the
                run has done.
        """
        from dgpo_core.checkpoint import newest_checkpoint

        with self._one_at_a_time:
            run = self._run(run_id)
            config = from_dict(run.config)
            with self._reserved():
                checkpoint = newest_checkpoint(self.checkpoints(run_id))
                if checkpoint is None and self._reader.checkpoints(run_id):
                    raise CheckpointError(
                        f"Run {run_id} cannot go on: no checkpoint in {self.checkpoints(run_id)} is whole, and to "
                        "begin anew would delete what it has done. Put them back, or start a new run from its recipe."
                    )
                self._writer.resume_run(run_id)
                self._begin_training(run_id, config, checkpoint, on_event)
            return run_id

    def send(self, run_id: int, command: Command) -> None:
        """Hands a command to a live run of any process; StoreError where there is nobody to hear it.

        A Stop for this process's run needs no store, so that it is heard while the disk is full. The run then waits
        to be saved, as long as for every write; a second Stop ends it at once.
        """
        with self._one_at_a_time:
            self._mark_interrupted()
            if isinstance(command, Stop) and self._is_training(run_id):
                self._stops.ask()
                return
            self._writer.send(run_id, command)

    def request_comparison(
        self, run_id: int, step: int | None, num_prompts: int, seed: int, *, drawing: Drawing | None = None
    ) -> int:
        """Asks for a before/after comparison: of the live run between its steps, else in a thread now."""
        with self._one_at_a_time:
            self._mark_interrupted()
            run = self._run(run_id)

            def awaited() -> Compare:
                request_id = self._writer.request_comparison(run_id, step, num_prompts, seed, drawing=drawing)
                return Compare(request_id, step, num_prompts, seed, drawing or Drawing())

            if run.state.is_live:
                return self._ask_live_run(run_id, awaited())
            with self._reserved():
                request = awaited()
                self._begin_comparison(run, request)
            return request.request_id

    def try_reward(self, wish: TrialWish) -> int:
        """Has a reward judge pictures in a thread of its own, one trial at a time, beside a run that is live."""
        from app.trials import bench_of, judged

        bench = bench_of(wish, self._reader, self._settings)
        if not self._is_trying.acquire(timeout=SECONDS_TO_LET_GO):  # the page may know of the end before it
            raise StoreError("A reward is being tried already. Wait until that trial is done.")
        try:
            self._writer.fail_lost_trials()
            trial_id = self._writer.request_trial(replace(wish, prompt=bench.prompt), bench.pngs)
        except BaseException:
            self._is_trying.release()
            raise

        def look() -> None:
            if self._is_closing.is_set():
                raise StoreError(_TRIAL_CLOSED)

        def work() -> None:
            self._writer.finish_trial(trial_id, judged(bench, self._settings, look))

        def on_failure(error: Exception) -> None:
            self._writer.fail_trial(trial_id, in_words(error))

        Thread(target=_carried_out, args=(work, on_failure, self._is_trying.release), name="trial", daemon=True).start()
        return trial_id

    def lease_next(self, rater: str) -> int | None:
        return self._writer.lease_next(rater)

    def put_label(self, said: Said) -> int:
        return self._writer.put_label(said)

    def take_back(self, rater: str, request: str) -> int | None:
        return self._writer.take_back(rater, request)

    def export_groups(self, run_id: int | None, layout: str, folder: Path) -> Path:
        from app.exchange.export import export_file

        return export_file(self._reader, run_id, layout, folder)

    def import_groups(self, file: Path, name: str) -> str:
        from app.exchange.importing import import_groups, in_words

        return in_words(*import_groups(self._writer, file, name))

    def set_notes(self, run_id: int, text: str) -> None:
        self._writer.set_notes(run_id, text)

    def rename(self, run_id: int, name: str) -> None:
        self._writer.rename(run_id, name)

    def delete(self, run_id: int) -> None:
        """Removes a run with its pictures, checkpoints and learned preferences; refused while it is live."""
        with self._one_at_a_time:
            self._mark_interrupted()
            self._writer.delete_run(run_id)
        for folder in (self.checkpoints(run_id).parent, self._settings.preferences(run_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def start_race(self, name: str) -> None:
        """Begins a shipped race in a process of its own, or goes on with it."""
        with self._one_at_a_time:
            self._mark_interrupted()
            self._race.start(name)

    def stop_race(self) -> None:
        self._race.stop()

    def race_words(self) -> str:
        return self._race.words()

    def memory_in_words(self, config: RunConfig) -> str:
        return self._memory.in_words(config)

    def trouble(self) -> str:
        """What keeps a run, the store or a race begun here from writing now, in words; empty when nothing does."""
        return (self._recorder.trouble if self._recorder else "") or self._writer.refusal or self._race.trouble()

    def checkpoints(self, run_id: int) -> Path:
        """The folder of a run's checkpoints."""
        return self._settings.checkpoints(run_id)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for this process's thread to end; whether it has."""
        # Not by Thread.join: before Python 3.13, one that Ctrl-C interrupts takes the thread for ended (bpo-45274).
        return self._has_ended.wait(seconds)

    def close(self) -> None:
        """Ends what this process's thread does at its next safe point, and waits until a run is saved."""
        self._is_closing.set()
        self._stops.ask()
        self._race.close()
        self.saving.close()
        self.wait(SECONDS_TO_STOP)
        self._watch.join()

    def _is_training(self, run_id: int) -> bool:
        """Whether it is this process that trains the run now."""
        return self._training.is_held and self._recorder is not None and self._recorder.run_id == run_id

    def _run(self, run_id: int) -> RunRow:
        run = self._reader.run(run_id)
        if run is None:
            raise StoreError(f"There is no run {run_id} any more. Choose one from the list of runs.")
        return run

    def _mark_interrupted(self) -> None:
        """Runs that lost their process are said to be so; whoever trains, here or elsewhere, is left alone."""
        if self._training.is_held:
            return
        try:
            self._training.acquire()
        except StoreError:
            return
        try:
            self._writer.mark_interrupted()
        finally:
            self._training.release()

    def _watch_for_lost_runs(self) -> None:
        """Every few seconds sees to it that a run whose process was killed is not shown as running."""
        while not self._is_closing.wait(SECONDS_BETWEEN_WATCHES):
            with suppress(StoreError), self._one_at_a_time:
                if self._writer.refusal or self._reader.live_run() is not None:
                    self._mark_interrupted()  # which first writes how a run ended, where that was refused

    @contextmanager
    def _reserved(self) -> Iterator[None]:
        """The training lock, for the thread that is begun within; given back where that fails."""
        self._take_training_lock()
        try:
            self._writer.mark_interrupted()
            yield
        except BaseException:
            self._training.release()
            raise

    def _take_training_lock(self) -> None:
        """Held from here until the thread ends."""
        if self._training.is_held and self._reader.live_run() is None:
            self.wait(SECONDS_TO_LET_GO)  # the page may know of a run's end before its thread has let go
        if self._training.is_held:
            live = self._reader.live_run()
            doing = f"Run {live.id} ({live.name}) is live" if live else "A comparison is being drawn"
            raise StoreError(f"{doing}; the lab does one thing at a time. Wait for it or stop it first.")
        self._training.acquire()
        self._memory.forget()

    def _begin(self, work: Callable[[], None], on_failure: Callable[[Exception], None]) -> None:
        """Does the work in the training thread, and lets go of the training lock when it ends."""

        has_ended = self._has_ended = Flag()

        def let_go() -> None:
            self._training.release()
            has_ended.set()

        Thread(target=_carried_out, args=(work, on_failure, let_go), name="training", daemon=True).start()

    def _begin_training(
        self, run_id: int, config: RunConfig, checkpoint: Path | None, on_event: OnEvent | None
    ) -> None:
        stops = self._stops = Stops()
        recorder = self._recorder = Recorder(self._writer, run_id, patience=self._patience, stops=stops)

        def emit(event: Event) -> None:
            recorder.record(event)
            if on_event is not None:
                on_event(event)

        def work() -> None:
            emit(PhaseChanged(step=0, phase=Phase.LOADING, done=0, total=1))
            from app.exchange.stored_run import with_groups_at_hand
            from app.people import people_of
            from dgpo_core.assembly import assemble

            memory = self._memory.watch(config)
            if checkpoint is None:
                for caution in (*cautions(config), *memory.cautions()):
                    emit(Warned(step=0, message=caution))
            from dgpo_core.trainer import train

            feed, patiently = CommandFeed(self._reader, self._writer, recorder, stops), recorder.patiently
            people = recorder.patient(people_of(self._reader, run_id, emit))
            at_hand = with_groups_at_hand(config, self._reader, self.checkpoints(run_id).parent)
            parts = assemble(at_hand, self.checkpoints(run_id), folder=self._settings.folder, people=people)
            with ExitStack() as stack:
                hear = memory.beside(emit)
                if config.people.weight > 0:
                    from app.study import study_of

                    settings, reader = self._settings, self._reader
                    study = study_of(config, parts, settings=settings, reader=reader, recorder=recorder, emit=emit)
                    stack.enter_context(study)
                    parts, hear = replace(parts, preference=study), study.beside(hear)
                train(config, parts, emit=hear, next_command=feed.next, resume_from=checkpoint, patiently=patiently)
            with suppress(StoreError):  # the end is handed over, and written when there is room
                recorder.flush()
            self._forget_comparisons(run_id)

        def on_failure(error: Exception) -> None:
            event = failure(error, lambda: self._reader.latest_step(run_id))
            self._leave(run_id, event)
            self._forget_comparisons(run_id)
            if on_event is not None:
                on_event(event)

        self._begin(work, on_failure)

    def _ask_live_run(self, run_id: int, request: Compare) -> int:
        try:
            self._writer.send(run_id, request)
        except StoreError as error:
            self._writer.fail_comparison(request.request_id, str(error))
            raise
        return request.request_id

    def _forget_comparisons(self, run_id: int) -> None:
        """Says of comparisons that an ended run did not come to that they will not come; cannot change how it ended."""
        with suppress(StoreError):
            for row in self._reader.comparisons(run_id):
                if not row.is_done and not row.message:
                    self._leave(run_id, ComparisonFailed(request_id=row.id, message=_NEVER_DRAWN))

    def _leave(self, run_id: int, event: Event) -> None:
        """Has an event written now, or as soon as there is room; waits for nothing and raises nothing."""
        with suppress(StoreError):
            self._writer.leave(run_id, event)
            self._writer.flush()

    def _begin_comparison(self, run: RunRow, request: Compare) -> None:
        def work() -> None:
            from app.comparisons import compared

            folder = self._settings.folder
            done = compared(run, request, self._reader, folder, self.checkpoints(run.id), look=self._end_if_closing)
            self._writer.record(run.id, done)
            self._writer.flush()

        def on_failure(error: Exception) -> None:
            self._leave(run.id, ComparisonFailed(request_id=request.request_id, message=in_words(error)))

        self._begin(work, on_failure)

    def _end_if_closing(self) -> None:
        if self._is_closing.is_set():
            raise StoreError(_CLOSED)


def _carried_out(work: Callable[[], None], on_failure: Callable[[Exception], None], at_end: Callable[[], None]) -> None:
    """Does the work of a thread; whatever it raises goes to on_failure."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the one place that turns any failure into words on the page
        on_failure(error)
    finally:
        at_end()
