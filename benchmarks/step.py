"""How long a step of the default recipe takes, what of it is overhead, and what ten open pages cost.

    python -m benchmarks.step [--steps 22] [--pages 10]

Overhead is everything but network forward and backward, decoding and reward. Steps with and without
pages take turns in one run, so that the machine's noise hits both alike.
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

import torch

from app.__main__ import configured
from app.lab import Lab
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.build import build_page, launch_options
from benchmarks.port import free_port
from benchmarks.record import keep
from benchmarks.visitors import READY
from dgpo_core.events import EndReason, Event, StepDone
from dgpo_core.models.sd3 import SD3Model


class NetworkClock:
    """Adds up the seconds spent in the network: velocity() and the backward passes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added up."""

        def on_the_clock(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            try:
                return plain(*arguments, **keywords)
            finally:
                self.seconds += time.perf_counter() - started

        return on_the_clock

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, the network is on the clock, whoever calls it."""
        with ExitStack() as restored:
            for owner, name in ((SD3Model, "velocity"), (torch.Tensor, "backward")):
                plain = getattr(owner, name)
                restored.callback(setattr, owner, name, plain)
                setattr(owner, name, self.timed(plain))
            yield


class OpenPages:
    """Ten, say, pages of the lab, opened and shut; open once each has been answered."""

    def __init__(self, url: str, count: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.visitors", url, str(count)]

    @contextmanager
    def open(self) -> Iterator[None]:
        pages = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        try:
            assert pages.stdout is not None
            if pages.stdout.readline().strip() != READY:
                raise SystemExit("The pages could not be opened.")
            yield
        finally:
            pages.terminate()
            pages.wait()


def measure(num_steps: int, num_pages: int) -> dict[str, Any]:
    """Steps of the default recipe by the runner, into the store, pages open at every other step."""
    config = configured("shapes", [f"schedule.num_steps={num_steps}", "schedule.evaluate_every=0"])
    config = replace(config, schedule=replace(config.schedule, evaluation_prompts=1, checkpoint_every=num_steps))
    clock = NetworkClock()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = Settings(folder=Path(folder), port=free_port())
        writer = stack.enter_context(Writer(settings.database))
        reader = Reader(settings.database)
        runner = Runner(settings, reader, writer)
        stack.callback(runner.close)
        lab = Lab(settings, reader, runner)
        page = build_page(lab)
        _, url, _ = page.launch(prevent_thread_lock=True, **launch_options(lab))
        stack.callback(page.close)
        rows = _Steps(clock, OpenPages(url.rstrip("/"), num_pages))
        stack.enter_context(clock.running())
        run_id = runner.start(config, rows.hear)
        runner.wait()
        rows.close_pages()
        run = reader.run(run_id)
    if run is None or run.state != EndReason.FINISHED:
        raise SystemExit(f"The run did not finish: {run}")
    return rows.summary(config.rollout.groups_per_step * config.rollout.group_size)


class _Steps:
    """Hears a run's events, times the steps from outside, and opens and shuts the pages in turns.

    A step ends when the store has taken it, so the time to hand it over is inside; the page is served meanwhile.
    """

    def __init__(self, clock: NetworkClock, pages: OpenPages) -> None:
        self._clock, self._pages = clock, pages
        self._open = ExitStack()
        self._started = time.perf_counter()
        self._network_before = 0.0
        self.rows: list[dict[str, float]] = []

    def hear(self, event: Event) -> None:
        if not isinstance(event, StepDone):
            return
        seconds = time.perf_counter() - self._started
        network = self._clock.seconds - self._network_before
        useful = network + event.metrics.decoding_seconds + event.metrics.scoring_seconds
        is_with_pages = len(self.rows) % 2 == 1
        self.rows.append({"seconds": seconds, "overhead": 1 - useful / seconds, "pages": float(is_with_pages)})
        self.close_pages()
        if len(self.rows) % 2 == 1:
            self._open.enter_context(self._pages.open())
        self._started, self._network_before = time.perf_counter(), self._clock.seconds

    def close_pages(self) -> None:
        self._open.close()

    def summary(self, num_pictures: int) -> dict[str, Any]:
        """Medians over the steps after the first two, which warm up."""
        warm = self.rows[2:]
        alone = [row["seconds"] for row in warm if not row["pages"]]
        watched = [row["seconds"] for row in warm if row["pages"]]
        return {
            "pictures_per_step": num_pictures,
            "step_seconds": median(alone),
            "step_seconds_with_pages": median(watched),
            "slowdown_by_pages": median(watched) / median(alone) - 1,
            "overhead_fraction": median(row["overhead"] for row in warm if not row["pages"]),
            "steps": self.rows,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=22)
    parser.add_argument("--pages", type=int, default=10)
    arguments = parser.parse_args()
    found = measure(arguments.steps, arguments.pages)
    keep("step", found | {"pages": arguments.pages})
    print({name: value for name, value in found.items() if name != "steps"})
