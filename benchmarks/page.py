"""How soon the page is ready after the server answers, and how soon a committed step can be seen.

    python -m benchmarks.page [--steps 10] [--browser /usr/bin/chromium]

A real Chromium looks at a lab whose store is fed with drawn pictures, 6 groups of 16 a step, so that
what is measured is the page and not the model. Nothing trains meanwhile. The first page is the first of a browser and
of a lab that have just begun; those after it have nothing in their browser's cache either.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from app.lab import Lab
from app.runner import Runner
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.build import build_page, launch_options
from base_model.corpus import random_request
from benchmarks.port import free_port
from benchmarks.record import keep
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.data.pictures import png_bytes
from dgpo_core.data.requests import picture_of
from dgpo_core.data.scenes import draw
from dgpo_core.events import RunStarted, ScoredGroup, ScoredSample, StepDone, StepMetrics

NUM_GROUPS, GROUP_SIZE = 6, 16
NUM_PAGES = 8
ZERO_METRICS = StepMetrics(**dict.fromkeys(StepMetrics.__dataclass_fields__, 0.0))


def drawn_step(step: int, rng: np.random.Generator) -> StepDone:
    """A step of true pictures, with made-up rewards."""
    return StepDone(step=step, groups=tuple(_group(index, rng) for index in range(NUM_GROUPS)), metrics=ZERO_METRICS)


def _group(index: int, rng: np.random.Generator) -> ScoredGroup:
    request = random_request(rng)
    rewards = rng.uniform(size=GROUP_SIZE)
    samples = tuple(
        ScoredSample(
            member=member,
            seed=member,
            png=png_bytes((draw(picture_of(request, rng)) * 255).astype(np.uint8)),
            reward=float(reward),
            terms=(),
            advantage=float(reward - rewards.mean()),
        )
        for member, reward in enumerate(rewards)
    )
    return ScoredGroup(
        index=index,
        prompt=request.wording(),
        samples=samples,
        reward_mean=float(rewards.mean()),
        reward_std=float(rewards.std()),
        gate=0.5,
        has_preference=True,
    )


def measure(num_steps: int, browser: str) -> dict[str, Any]:
    """Seconds from asking for a page to its groups on screen, and from a step's commit to its sight on an open page."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(folder=Path(folder), port=free_port())
        with Writer(settings.database) as writer, sync_playwright() as playwright:
            reader = Reader(settings.database)
            runner = Runner(settings, reader, writer)
            run_id = writer.create_run(to_dict(RunConfig()), 600)
            runner.close()  # nothing trains here, so nobody may call the run interrupted
            writer.record(run_id, RunStarted(first_step=0, num_steps=600, num_trainable=1))
            writer.record(run_id, drawn_step(0, rng))
            writer.flush()
            lab = build_page(Lab(settings, reader, runner))
            _, url, _ = lab.launch(prevent_thread_lock=True, **launch_options(Lab(settings, reader, runner)))
            chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page()
            first = _seconds_to_ready(page, url)
            page.locator("#memory").get_by_text("of memory at most").wait_for(timeout=120_000)  # nothing loads any more
            ready = []
            for _ in range(NUM_PAGES):
                page.close()
                page = chromium.new_page()
                ready.append(_seconds_to_ready(page, url))
            page.locator("#curves .main-svg").first.wait_for()
            seen = [_seconds_to_see(page, writer, run_id, drawn_step(step, rng)) for step in range(1, num_steps + 1)]
            chromium.close()
            lab.close()
            reader.close()
    return {"first_seconds": [first], "ready_seconds": ready, "seen_seconds": seen}


def _seconds_to_ready(page: Page, url: str) -> float:
    started = time.perf_counter()
    page.goto(url)
    page.locator("#start").wait_for()
    page.wait_for_selector("#wall .lab-tile img")
    return time.perf_counter() - started


def _seconds_to_see(page: Page, writer: Writer, run_id: int, step: StepDone) -> float:
    writer.record(run_id, step)
    writer.flush()
    started = time.perf_counter()
    shown = f"document.querySelector('#wall .lab-step')?.textContent === 'step {step.step}'"
    loaded = "[...document.querySelectorAll('#wall .lab-tile img')].slice(0, 8).every((one) => one.complete)"
    page.wait_for_function(f"{shown} && {loaded}", polling=20)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    found = measure(arguments.steps, arguments.browser)
    keep("page", found)
    for name, seconds in found.items():
        print(f"{name}: median {median(seconds):.2f}, worst {max(seconds):.2f}")
