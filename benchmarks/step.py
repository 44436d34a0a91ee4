"""How long a step of the default recipe takes, what of it is overhead, and what ten open pages cost.

    python -m benchmarks.step [--seeds 0 1 2] [--steps 24] [--pages 10]

Overhead is everything but network forward and backward, decoding and reward. The run of each seed is made twice: with
pages open at every other step, then at the others. Each step is so compared with itself, its work the same to the bit,
and whatever made one run slower than the other as a whole falls out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import expm1, log, sqrt
from pathlib import Path
from statistics import mean, median, quantiles, variance
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
from dgpo_core.config import RunConfig
from dgpo_core.errors import LabError
from dgpo_core.events import EndReason, Event, StepDone
from dgpo_core.models.sd3 import SD3Model

Row = dict[str, float]
WARM_UP = 2


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


class PagesError(LabError):
    """The pages were not open all the time. A run that hears of it fails, and with it the measurement."""


class OpenPages:
    """Ten, say, pages of the lab, opened and shut; open once each has been answered.

    Raises:
        PagesError: they could not be opened, or one of them failed before they were shut.
    """

    def __init__(self, url: str, count: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.visitors", url, str(count)]

    @contextmanager
    def open(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) as pages:
            try:
                assert pages.stdout is not None
                if pages.stdout.readline().strip() != READY:
                    raise PagesError("The pages could not be opened; see above why, and measure again.")
                yield pages
                if (status := pages.poll()) is not None:
                    raise PagesError(
                        f"The pages ended by themselves with exit status {status}, though they had to stay open; see "
                        "above why, and measure again."
                    )
            finally:
                pages.terminate()


def measure(seeds: Sequence[int], num_steps: int, num_pages: int) -> dict[str, Any]:
    """What steps of the default recipe take, and what open pages add to them."""
    config = configured("shapes", [f"schedule.num_steps={num_steps}", "schedule.evaluate_every=0"])
    config = replace(config, schedule=replace(config.schedule, evaluation_prompts=1, checkpoint_every=num_steps))
    pairs = [[_timed_run(replace(config, seed=seed), num_pages, at) for at in (1, 0)] for seed in seeds]
    about = {"pictures_per_step": config.rollout.groups_per_step * config.rollout.group_size, "seeds": list(seeds)}
    return about | summary(pairs)


def _timed_run(config: RunConfig, num_pages: int, pages_at: int) -> list[Row]:
    """The steps of one run by the runner, into the store, with pages open at even (0) or odd (1) steps."""
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
        steps = _Steps(clock, OpenPages(url.rstrip("/"), num_pages), pages_at)
        stack.enter_context(clock.running())
        run_id = runner.start(config, steps.hear)
        runner.wait()
        steps.close_pages()
        run = reader.run(run_id)
    if run is None or run.state != EndReason.FINISHED:
        raise SystemExit(f"The run did not finish: {run}")
    return steps.rows


class _Steps:
    """Hears a run's events, times the steps from outside, and opens and shuts the pages in turns.

    A step ends when the store has taken it, so the time to hand it over is inside; the page is served meanwhile.
    """

    def __init__(self, clock: NetworkClock, pages: OpenPages, pages_at: int) -> None:
        self._clock, self._pages, self._pages_at = clock, pages, pages_at
        self._open = ExitStack()
        self._started = time.perf_counter()
        self._network_before = 0.0
        self.rows: list[Row] = []

    def hear(self, event: Event) -> None:
        if not isinstance(event, StepDone):
            return
        seconds = time.perf_counter() - self._started
        network = self._clock.seconds - self._network_before
        useful = network + event.metrics.decoding_seconds + event.metrics.scoring_seconds
        self.rows.append({"seconds": seconds, "overhead": 1 - useful / seconds, "pages": float(self._has_pages())})
        self.close_pages()
        if self._has_pages():
            self._open.enter_context(self._pages.open())
        self._started, self._network_before = time.perf_counter(), self._clock.seconds

    def _has_pages(self) -> bool:
        """Whether the step that comes next is one with pages; the first never is."""
        return bool(self.rows) and len(self.rows) % 2 == self._pages_at

    def close_pages(self) -> None:
        self._open.close()


def summary(pairs: Sequence[Sequence[Sequence[Row]]]) -> dict[str, Any]:
    """Medians, tail and the pages' part over the steps after the first two of each run, which warm up.

    Args:
        pairs: for each seed its two runs.
    """
    warm = [[rows[WARM_UP:] for rows in pair] for pair in pairs]
    alone = [[row for rows in pair for row in rows if not row["pages"]] for pair in warm]
    seconds = [[row["seconds"] for row in rows] for rows in alone]
    every = [value for values in seconds for value in values]
    parts = [slowdown_by_pages(*pair) for pair in warm]
    return {
        "step_seconds": median(every),
        "step_seconds_by_seed": [median(values) for values in seconds],
        "step_seconds_of_ten_nine_below": quantiles(every, n=10, method="inclusive")[-1],
        "overhead_fraction": median(row["overhead"] for rows in alone for row in rows),
        "slowdown_by_pages": mean(share for share, _ in parts),
        "standard_error": sqrt(sum(error**2 for _, error in parts)) / len(parts),
        "runs": [[list(rows) for rows in pair] for pair in pairs],
    }


def slowdown_by_pages(one: Sequence[Row], other: Sequence[Row]) -> tuple[float, float]:
    """By how much pages lengthen a step, as a share, and its standard error, from two runs of the same steps.

    The two orders, pages in the one run and pages in the other, count alike, so a run that is slower throughout does
    not matter. Shares are means of logarithms.
    """
    orders: dict[float, list[float]] = {0.0: [], 1.0: []}
    for mine, theirs in zip(one, other, strict=True):
        watched, alone = (mine, theirs) if mine["pages"] else (theirs, mine)
        orders[mine["pages"]].append(log(watched["seconds"] / alone["seconds"]))
    middle = mean(mean(ratios) for ratios in orders.values())
    error = sqrt(sum(variance(ratios) / len(ratios) for ratios in orders.values())) / 2
    return expm1(middle), error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--pages", type=int, default=10)
    arguments = parser.parse_args()
    found = measure(arguments.seeds, arguments.steps, arguments.pages)
    keep("step", found | {"pages": arguments.pages})
    print({name: value for name, value in found.items() if name != "runs"})
