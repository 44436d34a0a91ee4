"""The Label page's own time: from the key that sends a label to the next group in sight, and for ranking a group of 8.

    python -m benchmarks.label_page [--groups 40] [--browser /usr/bin/chromium]

A real Chromium labels groups of a lab whose store holds drawn pictures. A group is in sight when its place stands
there, all of its pictures are decoded, and a frame is drawn. Half a second is left for looking at it, not counted, in
which the page fetches the pictures after it; and the key is measured once more without that half second. All of it
is measured twice: with pictures of 64 pixels, which come inside the answer, and with such as weigh like photographs of
512 pixels, which come by addresses of their own.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
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
from dgpo_core.events import GroupsPosted, PostedGroup
from dgpo_core.rewards.contract import Picture

GROUP_SIZE = 8
LOOKING_MS = 500
LARGE_SCALE = 8
"""512 pixels of those drawn with 64."""
GRAIN = 4
"""How far a pixel of a large picture is off at most; drawn without, it would be so small that it came inside."""
GROUPS_AT_ONCE = 10
"""Large ones in one event: a megabyte and more each."""
IN_SIGHT = """
const pause = () => new Promise((done) => setTimeout(done, 1));
const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
const shown = () => document.querySelector(".lab-label-press img")?.src;
const nextInSight = async (before) => {
  while (shown() === before) await pause();
  await Promise.all([...document.querySelectorAll(".lab-label-press img")].map((one) => one.decode()));
  await frame();
};
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
"""
ONE_KEY = f"""async (order) => {{ {IN_SIGHT}
  const before = shown();
  press(order[0]);
  const started = performance.now();
  press("Enter");
  await nextInSight(before);
  return (performance.now() - started) / 1000;
}}"""
RANKING = f"""async (order) => {{ {IN_SIGHT}
  const before = shown();
  const started = performance.now();
  for (const key of order) {{
    press(key);
    if (key !== order.at(-1)) await frame();
  }}
  await nextInSight(before);
  return (performance.now() - started) / 1000;
}}"""


def measure(num_groups: int, browser: str, scale: int = 1) -> dict[str, Any]:
    """Seconds from key to next group, and for all keys of a ranking of 8 and the next group, each num_groups times.

    scale is how many times wider than drawn the pictures are.
    """
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings = Settings(folder=Path(folder), port=free_port())
        with Writer(settings.database) as writer:
            reader = Reader(settings.database)
            runner = Runner(settings, reader, writer)
            run_id = writer.create_run(to_dict(RunConfig()), 1)
            runner.close()  # nothing trains here, so nobody may call the run interrupted
            for event in posted(3 * num_groups + 2, scale):
                writer.record(run_id, event)
            writer.flush()
            lab = Lab(settings, reader, runner)
            served = build_page(lab)
            _, url, _ = served.launch(prevent_thread_lock=True, **launch_options(lab))
            chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            found = times(chromium.new_page(), f"{url}label", num_groups)
            chromium.close()
            served.close()
            reader.close()
    return found


def times(page: Page, url: str, num_groups: int) -> dict[str, list[float]]:
    """Labels that many groups by one key and Enter, with and without looking, and by all eight keys."""
    page.goto(url)
    page.wait_for_selector(".lab-label-press img")
    page.evaluate(ONE_KEY, ["1"])  # warms up
    rng = np.random.default_rng(0)
    orders = [[str(one + 1) for one in rng.permutation(GROUP_SIZE)] for _ in range(num_groups)]
    return {
        "key_seconds": [_after_looking(page, ONE_KEY, order) for order in orders],
        "key_seconds_at_once": [page.evaluate(ONE_KEY, order) for order in orders],
        "ranking_seconds": [_after_looking(page, RANKING, order) for order in orders],
    }


def _after_looking(page: Page, script: str, order: list[str]) -> float:
    page.wait_for_timeout(LOOKING_MS)
    return float(page.evaluate(script, order))


def posted(num_groups: int, scale: int = 1) -> Iterator[GroupsPosted]:
    """Groups of drawn pictures that wait for people, a few at a time."""
    rng = np.random.default_rng(0)
    for step, first in enumerate(range(0, num_groups, GROUPS_AT_ONCE)):
        count = min(GROUPS_AT_ONCE, num_groups - first)
        yield GroupsPosted(step=step, groups=tuple(_group(index, scale, rng) for index in range(count)))


def _group(index: int, scale: int, rng: np.random.Generator) -> PostedGroup:
    request = random_request(rng)
    drawn = [draw(picture_of(random_request(rng), rng)) for _ in range(GROUP_SIZE)]
    pictures = [_enlarged((one * 255).astype(np.uint8), scale, rng) for one in drawn]
    return PostedGroup(index, request.wording(), tuple(png_bytes(one) for one in pictures))


def _enlarged(picture: Picture, scale: int, rng: np.random.Generator) -> Picture:
    """The picture so many times as wide, with the grain of a photograph; as it is where that is once."""
    if scale == 1:
        return picture
    large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    grain = rng.integers(-GRAIN, GRAIN + 1, size=large.shape)
    return np.clip(large.astype(int) + grain, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    measured = measure(arguments.groups, arguments.browser)
    large = measure(arguments.groups, arguments.browser, LARGE_SCALE)
    measured |= {f"large_{name}": seconds for name, seconds in large.items()}
    keep("label_page", measured)
    for name, seconds in measured.items():
        print(f"{name}: median {median(seconds):.3f}, worst {max(seconds):.3f}")
