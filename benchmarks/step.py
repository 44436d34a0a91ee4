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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch
from torch import Tensor

from app.__main__ import configured
from app.lab import Lab
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.build import build_page, launch_options
from benchmarks.record import keep
from dgpo_core.assembly import PROJECT, assemble
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import Event, StepDone
from dgpo_core.models.protocol import Conditioning
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.trainer import train

SECONDS_TO_OPEN = 4.0


class NetworkClock:
    """Adds up the seconds spent in the network: velocity() and the backward passes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


class TimedModel(SD3Model):
    """The model with a clock on its forward passes."""

    clock = NetworkClock()

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        with self.clock.running():
            return super().velocity(x, sigma, conditioning)


@contextmanager
def timed_backward(clock: NetworkClock) -> Iterator[None]:
    """Within, Tensor.backward is on the clock too."""
    plain = torch.Tensor.backward

    def backward(self: Tensor, *arguments: Any, **keywords: Any) -> None:
        with clock.running():
            plain(self, *arguments, **keywords)

    torch.Tensor.backward = backward  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.backward = plain  # type: ignore[method-assign]


class OpenPages:
    """Pages that poll the lab once a second, as the real ones do, from a process of their own."""

    def __init__(self, url: str, count: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.step", "--poll", url, "--pages", str(count)]

    @contextmanager
    def open(self) -> Iterator[None]:
        pages = subprocess.Popen(self._command)
        try:
            yield
        finally:
            pages.terminate()
            pages.wait()


def poll_for_ever(url: str, count: int) -> None:
    """The body of that process: every page asks for what is new, remembers the token, and waits a second."""
    components = httpx.get(f"{url}/config").json()["components"]
    component = next(one["id"] for one in components if one["props"].get("elem_id") == "heartbeat")

    def one_page(number: int) -> None:
        token = None
        with httpx.Client(base_url=url, timeout=30) as client:
            while True:
                asked = {"token": token, "run": None, "topics": {"status": None, "wall": None, "curves": None}}
                body = {"data": asked, "component_id": component, "fn_name": "poll", "session_hash": f"page{number}"}
                answer = client.post("/gradio_api/component_server/", json=body)
                answer.raise_for_status()
                token = answer.json()["token"]
                time.sleep(1)

    pages = [threading.Thread(target=one_page, args=(number,), daemon=True) for number in range(count)]
    for page in pages:
        page.start()
    for page in pages:
        page.join()


def measure(num_steps: int, num_pages: int) -> dict[str, Any]:
    """Steps of the default recipe with the store and the page running, pages open at every other step."""
    config = configured("shapes", [f"schedule.num_steps={num_steps}", "schedule.evaluate_every=0"])
    config = replace(config, schedule=replace(config.schedule, evaluation_prompts=1, checkpoint_every=num_steps))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = Settings(folder=Path(folder), port=7879)
        writer = stack.enter_context(Writer(settings.database))
        reader = Reader(settings.database)
        lab = Lab(settings, reader, Runner(settings, reader, writer))
        page = build_page(lab)
        _, url, _ = page.launch(prevent_thread_lock=True, **launch_options(lab))
        stack.callback(page.close)
        pages = OpenPages(url.rstrip("/"), num_pages)
        run_id = writer.create_run(to_dict(config), num_steps)
        rows = _Steps(lambda event: writer.record(run_id, event), pages)
        parts = assemble(config, settings.folder / "checkpoints", model=_timed(config))
        with timed_backward(TimedModel.clock):
            train(config, parts, emit=rows.hear, next_command=lambda: None)
        rows.close_pages()
        writer.flush()
    return rows.summary(config.rollout.groups_per_step * config.rollout.group_size)


def _timed(config: RunConfig) -> TimedModel:
    model = TimedModel.load(
        PROJECT / config.model.folder,
        lora_rank=config.model.lora_rank,
        lora_alpha=config.model.lora_alpha,
        seed=config.seed,
    )
    assert isinstance(model, TimedModel)
    return model


class _Steps:
    """Hears a run's events, times the steps from outside, and opens and shuts the pages in turns."""

    def __init__(self, record: Callable[[Event], None], pages: OpenPages) -> None:
        self._record, self._pages = record, pages
        self._open = ExitStack()
        self._started = time.perf_counter()
        self._network_before = 0.0
        self.rows: list[dict[str, float]] = []

    def hear(self, event: Event) -> None:
        self._record(event)
        if not isinstance(event, StepDone):
            return
        seconds = time.perf_counter() - self._started
        network = TimedModel.clock.seconds - self._network_before
        useful = network + event.metrics.decoding_seconds + event.metrics.scoring_seconds
        is_with_pages = len(self.rows) % 2 == 1
        self.rows.append({"seconds": seconds, "overhead": 1 - useful / seconds, "pages": float(is_with_pages)})
        self.close_pages()
        if len(self.rows) % 2 == 1:
            self._open.enter_context(self._pages.open())
            time.sleep(SECONDS_TO_OPEN)
        self._started, self._network_before = time.perf_counter(), TimedModel.clock.seconds

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
    parser.add_argument("--poll", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.poll:
        poll_for_ever(arguments.poll, arguments.pages)
    else:
        found = measure(arguments.steps, arguments.pages)
        keep("step", found | {"pages": arguments.pages})
        print({name: value for name, value in found.items() if name != "steps"})
