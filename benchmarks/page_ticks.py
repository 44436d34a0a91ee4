"""What the polling of open pages costs the lab: CPU milliseconds of its process for one turn of one page.

    python -m benchmarks.page_ticks [--pages 10] [--turns 12]

Three kinds of turn: nothing was written since the one before, a phase of the run moved on (twice a second in a run),
a step of 6 groups of 16 came. The pages live in a process of their own (`benchmarks.visitors`), which is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from app.lab import Lab
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.build import build_page, launch_options
from benchmarks.page import drawn_step
from benchmarks.port import free_port
from benchmarks.record import keep
from benchmarks.visitors import ANSWERED, READY
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import EvaluationDone, Examined, Phase, PhaseChanged, RunStarted, StepDone

STEPS_BEFORE = 40
EXAMINED_BEFORE = 120


class Turns:
    """Pages in another process that all ask once when told, and what answering them takes here."""

    def __init__(self, pages: subprocess.Popen[str], count: int) -> None:
        self._pages, self._count = pages, count
        self._hears(READY)

    def take(self) -> float:
        """CPU milliseconds of this process for the turn of one page."""
        assert self._pages.stdin is not None
        started = time.process_time()
        self._pages.stdin.write("\n")
        self._pages.stdin.flush()
        self._hears(ANSWERED)
        return 1000 * (time.process_time() - started) / self._count

    def _hears(self, words: str) -> None:
        assert self._pages.stdout is not None
        if self._pages.stdout.readline().strip() != words:
            raise SystemExit("The pages were not answered.")


def measure(num_pages: int, num_turns: int) -> dict[str, Any]:
    """Milliseconds of each kind of turn, over a store that has some steps and an examination."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = Settings(folder=Path(folder), port=free_port())
        writer = stack.enter_context(Writer(settings.database))
        reader = Reader(settings.database)
        stack.callback(reader.close)
        runner = Runner(settings, reader, writer)
        runner.close()  # nothing trains here, so nobody may call the run interrupted
        step = drawn_step(0, np.random.default_rng(0))
        run_id = _filled(writer, step)
        lab = Lab(settings, reader, runner)
        page = build_page(lab)
        _, url, _ = page.launch(prevent_thread_lock=True, **launch_options(lab))
        stack.callback(page.close)
        turns = Turns(stack.enter_context(_pages(url.rstrip("/"), num_pages)), num_pages)

        def phase(number: int) -> None:
            writer.record(run_id, PhaseChanged(step=STEPS_BEFORE, phase=Phase.SAMPLING, done=number, total=num_turns))

        def next_step(number: int) -> None:
            writer.record(run_id, replace(step, step=STEPS_BEFORE + number))

        kinds: dict[str, Callable[[int], None]] = {"nothing": lambda _: None, "phase": phase, "step": next_step}
        return {name: _taken(turns, writer, change, num_turns) for name, change in kinds.items()}


def _filled(writer: Writer, step: StepDone) -> int:
    run_id = writer.create_run(to_dict(RunConfig()), 600)
    writer.record(run_id, RunStarted(first_step=0, num_steps=600, num_trainable=1))
    for number in range(STEPS_BEFORE):
        writer.record(run_id, replace(step, step=number))
    pngs = [sample.png for group in step.groups for sample in group.samples]
    samples = tuple(
        Examined(prompt=f"prompt {n}", category="single", seed=n, score=1.0, details="", png=pngs[n % len(pngs)])
        for n in range(EXAMINED_BEFORE)
    )
    writer.record(run_id, EvaluationDone(step=0, policy="base", score=1.0, quality=(), samples=samples))
    writer.flush()
    return run_id


@contextmanager
def _pages(url: str, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.visitors", url, str(count), "--by-line"]
    pages = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield pages
    finally:
        pages.terminate()
        pages.wait()


def _taken(turns: Turns, writer: Writer, change: Callable[[int], None], num_turns: int) -> list[float]:
    turns.take()
    taken = []
    for number in range(num_turns):
        change(number)
        writer.flush()
        taken.append(turns.take())
    return taken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--turns", type=int, default=12)
    arguments = parser.parse_args()
    found = measure(arguments.pages, arguments.turns)
    keep("page_ticks", {"pages": arguments.pages, "milliseconds": found})
    for name, milliseconds in found.items():
        print(f"{name}: median {median(milliseconds):.2f} ms, {min(milliseconds):.2f} to {max(milliseconds):.2f}")
