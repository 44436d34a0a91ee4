"""What may be written to the store, by whom it concerns: the trainer's events, the page's wishes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from app.store import importing, labelling, opinions, requests, trials
from app.store.database import Opener, open_for_writing
from app.store.importing import ImportedGroup
from app.store.recording import fail_comparison
from app.store.requests import RacePlace
from app.store.rows import Agreement, Said, TrialResult, TrialWish
from app.store.writing_thread import WritingThread
from dgpo_core.events import Command, Drawing, Event


class Writer:
    """The process's one writer. Every change is one durable transaction; any thread may call any method.

    record() returns before its event is on disk, all others after. What the disk refuses is kept and tried
    again by the next call; until it is written every call raises StoreError, and readers see nothing of it.

    Raises:
        StoreError: the database cannot be opened; see open_for_writing.
    """

    def __init__(self, path: Path, *, opener: Opener = open_for_writing) -> None:
        self._thread = WritingThread(path, opener)

    def record(self, run_id: int, event: Event) -> None:
        """Hands over an event, whole and in order; waits while a few others are still to be written.

        A PhaseChanged never waits: only the newest one of a run is kept, and written twice a second.

        Raises:
            StoreError: an earlier event is not on disk. The event given now was not taken: give it again
                when the cause is gone. Also raised once for an earlier event that could not be stored at all.
        """
        self._thread.record(run_id, event)

    def leave(self, run_id: int, event: Event) -> None:
        """Hands over an event that must not be lost or waited for: written after what is refused, when there is room.

        Raises:
            StoreError: the writer is closed, or its thread has ended.
        """
        self._thread.leave(run_id, event)

    @property
    def refusal(self) -> str:
        """Why events that were handed over are not on disk yet, in words; empty while none was refused."""
        return self._thread.refusal

    def flush(self) -> None:
        """Returns when everything recorded so far is on disk.

        Raises:
            StoreError: something is not; it is kept and tried again by the next call.
        """
        self._thread.flush()

    def create_run(self, config: dict[str, Any], num_steps: int) -> int:
        """The id of a new run that is about to start; its name is the config's."""
        text = json.dumps(config)
        return self._thread.call(lambda db: requests.create_run(db, config["name"], text, num_steps))

    def resume_run(self, run_id: int) -> None:
        """Makes an ended run one that is about to start; commands and comparisons still waiting are dropped."""
        self._thread.call(lambda db: requests.resume_run(db, run_id))

    def send(self, run_id: int, command: Command) -> int:
        """The id of a command that now waits for the run; StoreError where the run is not live."""
        return self._thread.call(lambda db: requests.send(db, run_id, command))

    def finish_command(self, command_id: int) -> None:
        """Marks a command as carried out."""
        self._thread.call(lambda db: requests.finish_command(db, command_id))

    def request_comparison(
        self, run_id: int, step: int | None, num_prompts: int, seed: int, *, drawing: Drawing | None = None
    ) -> int:
        """The id of a comparison that is awaited from now on. Sends no command: who draws it is the caller's affair."""
        return self._thread.call(
            lambda db: requests.request_comparison(db, run_id, step, num_prompts, seed, drawing=drawing or Drawing())
        )

    def fail_comparison(self, comparison_id: int, message: str) -> None:
        """Says why an awaited comparison will not come."""
        self._thread.call(lambda db: fail_comparison(db, comparison_id, message))

    def request_trial(self, wish: TrialWish, pngs: Sequence[bytes]) -> int:
        """The id of a trial of a reward that is awaited from now on."""
        return self._thread.call(lambda db: trials.request_trial(db, wish, pngs))

    def finish_trial(self, trial_id: int, result: TrialResult) -> None:
        """Stores what came of a trial."""
        self._thread.call(lambda db: trials.finish_trial(db, trial_id, result))

    def fail_trial(self, trial_id: int, message: str) -> None:
        """Says why a trial came to nothing."""
        self._thread.call(lambda db: trials.fail_trial(db, trial_id, message))

    def fail_lost_trials(self) -> None:
        """Says of trials that no process works on any more that they will not come."""
        self._thread.call(trials.fail_lost_trials)

    def set_notes(self, run_id: int, text: str) -> None:
        """Replaces a run's notes."""
        self._thread.call(lambda db: requests.set_notes(db, run_id, text))

    def rename(self, run_id: int, name: str) -> None:
        """Gives a run another name."""
        self._thread.call(lambda db: requests.rename(db, run_id, name))

    def delete_run(self, run_id: int) -> list[str]:
        """Deletes a run that is not live; returns its checkpoint folders, which are left on disk."""
        return self._thread.call(lambda db: requests.delete_run(db, run_id))

    def create_race(self, name: str, plan: dict[str, Any]) -> int:
        """The id of a new race."""
        text = json.dumps(plan)
        return self._thread.call(lambda db: requests.create_race(db, name, text))

    def enter(self, race_id: int, run_id: int, place: RacePlace) -> None:
        """Makes a run one of a race."""
        self._thread.call(lambda db: requests.enter(db, race_id, run_id, place))

    def end_race(self, race_id: int) -> None:
        """Says that a race is over."""
        self._thread.call(lambda db: requests.end_race(db, race_id))

    def lease_next(self, rater: str) -> int | None:
        """The id of the group that this person is to judge next, theirs for two minutes; None where there is none."""
        return self._thread.call(lambda db: labelling.lease_next(db, rater))

    def put_label(self, said: Said) -> int:
        """The id of the label's row, durable when this returns; the same request twice is one label."""
        return self._thread.call(lambda db: labelling.put_label(db, said))

    def take_back(self, rater: str, request: str) -> int | None:
        """Undoes this person's newest label of an open group; the group's id, None where there is none."""
        return self._thread.call(lambda db: labelling.take_back(db, rater, request))

    def put_agreements(self, agreements: Sequence[Agreement]) -> None:
        """Stores how labels agree with other opinions; of the same label and opinion the newest counts."""
        self._thread.call(lambda db: opinions.put_agreements(db, agreements))

    def import_groups(self, config: dict[str, Any], groups: Sequence[ImportedGroup], notes: str) -> int:
        """The id of a finished run that holds groups from outside the lab; all of them, or none."""
        return self._thread.call(lambda db: importing.import_groups(db, config, groups, notes))

    def mark_interrupted(self) -> list[int]:
        """Ids of the live runs, which become interrupted. Only for whoever holds the training lock."""
        return self._thread.call(requests.mark_interrupted)

    def close(self) -> None:
        """Writes what is left and lets go of the file; harmless when closed already.

        Raises:
            StoreError: something could not be written and is lost.
        """
        self._thread.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
