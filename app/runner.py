"""The background training thread, and everything the page may ask of it.

One run at a time in a folder, whichever process trains it. The thread is handed commands through
the store, so a run of another process obeys the same page.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

from app.settings import Settings
from app.store.lock import LabLock
from app.store.reader import Reader
from app.store.rows import RunRow
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.errors import LabError, StoreError
from dgpo_core.events import Command, Compare, EndReason, Event, Phase, PhaseChanged, RunFailed, Stop

SECONDS_BETWEEN_READS = 0.05
SECONDS_TO_STOP = 60.0
OnEvent = Callable[[Event], None]


class Runner:
    """Starts, resumes and ends runs in a thread of its own. Any thread may call any method."""

    def __init__(self, settings: Settings, reader: Reader, writer: Writer) -> None:
        self._settings, self._reader, self._writer = settings, reader, writer
        self._one_at_a_time = Lock()
        self._training = LabLock(settings.folder, "training")
        self._thread: Thread | None = None
        self._mark_interrupted()

    def start(self, config: RunConfig, on_event: OnEvent | None = None) -> int:
        """Begins a run and returns its id; on_event also hears its events, in the training thread.

        Raises:
            StoreError: another run is live, in this process or another; the message says whose.
        """
        with self._one_at_a_time:
            self._take_training_lock()
            try:
                run_id = self._writer.create_run(to_dict(config), config.schedule.num_steps)
            except StoreError:
                self._training.release()
                raise
            self._begin(lambda: self._train(run_id, config, None, on_event))
            return run_id

    def resume(self, run_id: int, on_event: OnEvent | None = None) -> int:
        """Goes on from the run's newest whole checkpoint, or from its start where it has none."""
        from dgpo_core.checkpoint import newest_checkpoint

        with self._one_at_a_time:
            run = self._run(run_id)
            config = from_dict(run.config)
            self._take_training_lock()
            try:
                self._writer.resume_run(run_id)
            except StoreError:
                self._training.release()
                raise
            checkpoint = newest_checkpoint(self.checkpoints(run_id))
            self._begin(lambda: self._train(run_id, config, checkpoint, on_event))
            return run_id

    def send(self, run_id: int, command: Command) -> None:
        """Hands a command to a live run of any process."""
        self._writer.send(run_id, command)

    def request_comparison(self, run_id: int, step: int | None, num_prompts: int, seed: int) -> int:
        """Asks for a before/after comparison: of the live run between its steps, else in a thread now."""
        with self._one_at_a_time:
            run = self._run(run_id)
            if not run.state.is_live:
                self._take_training_lock()
            try:
                request_id = self._writer.request_comparison(run_id, step, num_prompts, seed)
                request = Compare(request_id, step, num_prompts, seed)
                if run.state.is_live:
                    self._writer.send(run_id, request)
            except StoreError:
                self._training.release()
                raise
            if not run.state.is_live:
                self._begin(lambda: self._compare(run, request))
            return request_id

    def set_notes(self, run_id: int, text: str) -> None:
        self._writer.set_notes(run_id, text)

    def rename(self, run_id: int, name: str) -> None:
        self._writer.rename(run_id, name)

    def delete(self, run_id: int) -> None:
        """Removes a run with its pictures and checkpoints; refused while it is live."""
        self._writer.delete_run(run_id)
        shutil.rmtree(self.checkpoints(run_id).parent, ignore_errors=True)

    def checkpoints(self, run_id: int) -> Path:
        """The folder of a run's checkpoints."""
        return self._settings.folder / "runs" / str(run_id) / "checkpoints"

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for this process's thread to end; whether it has."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        """Stops this process's run at its next safe point and waits until it is saved."""
        live = self._reader.live_run()
        if live is not None and self._training.is_held:
            self._writer.send(live.id, Stop())
        self.wait(SECONDS_TO_STOP)

    def _run(self, run_id: int) -> RunRow:
        run = self._reader.run(run_id)
        if run is None:
            raise StoreError(f"There is no run {run_id} any more. Choose one from the list of runs.")
        return run

    def _mark_interrupted(self) -> None:
        """Runs that lost their process are said to be so; whoever trains elsewhere is left alone."""
        try:
            with self._training:
                self._writer.mark_interrupted()
        except StoreError:
            if self._training.is_held:
                raise

    def _take_training_lock(self) -> None:
        """Held from here until the thread ends. A thread that just ended may still be letting go."""
        if self._training.is_held:
            live = self._reader.live_run()
            doing = f"Run {live.id} ({live.name}) is live" if live else "A comparison is being drawn"
            raise StoreError(f"{doing}; the lab does one thing at a time. Wait for it or stop it first.")
        self._training.acquire()
        self._writer.mark_interrupted()

    def _begin(self, work: Callable[[], None]) -> None:
        def run_and_release() -> None:
            try:
                work()
            finally:
                self._training.release()

        self._thread = Thread(target=run_and_release, name="training", daemon=True)
        self._thread.start()

    def _train(self, run_id: int, config: RunConfig, checkpoint: Path | None, on_event: OnEvent | None) -> None:
        """The body of the training thread."""
        commands = _Commands(self._reader, self._writer, run_id)

        def emit(event: Event) -> None:
            self._writer.record(run_id, event)
            if on_event is not None:
                on_event(event)

        try:
            emit(PhaseChanged(step=0, phase=Phase.LOADING, done=0, total=1))
            from dgpo_core.assembly import assemble
            from dgpo_core.trainer import train

            parts = assemble(config, self.checkpoints(run_id), folder=self._settings.folder)
            train(config, parts, emit=emit, next_command=commands.next, resume_from=checkpoint)
            self._writer.flush()
        except Exception as error:  # noqa: BLE001 - the one place where any failure becomes a failed run on the page
            emit(_failure(error, self._reader.latest_step(run_id)))
            self._writer.flush()

    def _compare(self, run: RunRow, request: Compare) -> None:
        """The body of the thread that draws a comparison of a run that is not live."""
        from dgpo_core.assembly import assemble
        from dgpo_core.checkpoint import newest_checkpoint
        from dgpo_core.comparison import averaged_weights, compare
        from dgpo_core.errors import CheckpointError

        try:
            folder = self.checkpoints(run.id)
            newest = newest_checkpoint(folder)
            if newest is None:
                raise CheckpointError(f"Run {run.id} has no checkpoint to compare. Resume it, or start another run.")
            step = int(newest.name.removeprefix("step-")) if request.step is None else request.step
            parts = assemble(from_dict(run.config), folder, folder=self._settings.folder)
            weights = averaged_weights(folder, step, parts.model)
            done = compare(parts.examiner, parts.heldout_prompts, request, weights=weights, step=step)
            self._writer.record(run.id, done)
            self._writer.flush()
        except LabError as error:
            self._writer.fail_comparison(request.request_id, str(error))


class _Commands:
    """The commands of one run, each given once; reads the store at most every SECONDS_BETWEEN_READS."""

    def __init__(self, reader: Reader, writer: Writer, run_id: int) -> None:
        self._reader, self._writer, self._run_id = reader, writer, run_id
        self._last_id = 0
        self._next_read = 0.0
        self._waiting: list[Command] = []

    def next(self) -> Command | None:
        if not self._waiting and time.monotonic() >= self._next_read:
            for command_id, command in self._reader.commands_after(self._run_id, self._last_id):
                self._last_id = command_id
                self._writer.finish_command(command_id)
                self._waiting.append(command)
            self._next_read = time.monotonic() + SECONDS_BETWEEN_READS
        return self._waiting.pop(0) if self._waiting else None


def _failure(error: Exception, step: int | None) -> RunFailed:
    """What the page says of an exception: its own words where they are meant for people."""
    message = (
        str(error)
        if isinstance(error, LabError)
        else f"The run stopped on an unexpected error, {type(error).__name__}: {error}. "
        "Its last checkpoint is safe; resume it, and report the details below if it happens again."
    )
    return RunFailed(step=0 if step is None else step + 1, message=message, details=traceback.format_exc())


def end_in_words(run: RunRow) -> str:
    """How a run ended, for the command line."""
    if run.state == EndReason.FAILED:
        return f"Run {run.id} failed: {run.message}"
    scores = f", held-out score {run.first_score:.3f} -> {run.last_score:.3f}" if run.last_score is not None else ""
    return f"Run {run.id} {run.state} after {run.step + 1} of {run.num_steps} steps{scores}."
