"""A rater who is nobody: judges the groups of a live run by a taste, through the leases and labels of a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4
from zlib import crc32

import numpy as np

from app.store.reader import Reader
from app.store.rows import LabelTaskRow, RunRow, Said
from app.store.writer import Writer
from dgpo_core.config import from_dict
from dgpo_core.data.pictures import picture_of
from dgpo_core.errors import ConfigError, LabelError
from dgpo_core.label import label_to_row
from dgpo_core.rewards.annotators import TASTES, Annotator, annotator

SECONDS_BETWEEN_LOOKS = 0.2
NO_RUN = "No run is live here; waiting for one. Start it on the page, or with python -m app train; Ctrl-C ends this."


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRater:
    """A name that labels stand under, and how it judges; its noise depends on the seeds and the group's place alone."""

    name: str
    annotate: Annotator
    seeds: tuple[int, ...]

    def judge_next(self, reader: Reader, writer: Writer, run_id: int) -> LabelTaskRow | None:
        """Takes the next group of a live run in hand and labels it; that group, None where none waits for this rater.

        Groups of other runs are left to those they wait for: a label cannot be removed.

        Raises:
            LabelError: nobody may label under this name.
        """
        while (task := self._leased(reader, writer, run_id)) is not None:
            started = time.perf_counter()
            pictures = [picture_of(png) for sha in task.shas if (png := reader.picture(sha))]
            rng = np.random.default_rng([*self.seeds, task.step, task.group_index])
            kind, body = label_to_row(self.annotate(pictures, rng))
            seconds = time.perf_counter() - started
            said = Said(task_id=task.id, rater=self.name, kind=kind, body=body, seconds=seconds, request=uuid4().hex)
            with suppress(LabelError):  # the step went on while this was judged, so there is nothing to judge any more
                writer.put_label(said)
                return task
        return None

    def _leased(self, reader: Reader, writer: Writer, run_id: int) -> LabelTaskRow | None:
        """The group of the run that is this rater's now; one of another run is not taken from those it waits for."""
        if _of_run(reader, reader.label_after(self.name, 0), run_id) is None:
            return None
        return _of_run(reader, writer.lease_next(self.name), run_id)


def _of_run(reader: Reader, task_id: int | None, run_id: int) -> LabelTaskRow | None:
    task = None if task_id is None else reader.label_task(task_id)
    return task if task is not None and task.run_id == run_id else None


def rater_of(taste: str, noise: float, name: str | None = None) -> SimulatedRater:
    """A rater with one of the tastes, "simulated: TASTE" unless it is given a name; other names err at other places.

    Raises:
        ConfigError: there is no such taste, or the noise is no chance.
    """
    if taste not in TASTES:
        raise ConfigError(f"There is no simulated annotator {taste[:40]!r}. Known: {', '.join(TASTES)}. Name one.")
    if not 0 <= noise <= 1:
        raise ConfigError(f"--noise must be 0 to 1, the chance that neighbours are swapped, got {noise:g}. Try 0.1.")
    name = f"simulated: {taste}" if name is None else name
    return SimulatedRater(name=name, annotate=annotator(TASTES[taste], noise=noise), seeds=(crc32(name.encode()),))


def judged_groups(
    rater: SimulatedRater, reader: Reader, writer: Writer, say: Callable[[str], None]
) -> Iterator[LabelTaskRow]:
    """Judges the groups of the live run, or of the next one, until it ends; each group once its label is stored.

    Raises:
        ConfigError: the run asks nobody.
        LabelError: nobody may label under this name.
    """
    run = _live_run(reader, say)
    while (now := reader.run(run.id)) is not None and now.state.is_live:
        task = rater.judge_next(reader, writer, run.id)
        if task is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            yield task


def _live_run(reader: Reader, say: Callable[[str], None]) -> RunRow:
    """The run that is live, waited for where none is."""
    run = reader.live_run()
    if run is None:
        say(NO_RUN)
    while run is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        run = reader.live_run()
    if from_dict(run.config).people.weight == 0:
        raise ConfigError(
            f"Run {run.id} ({run.name}) asks nobody: its people.weight is 0. "
            "Wait for its end or stop it, and start one with --set people.weight=1."
        )
    return run
