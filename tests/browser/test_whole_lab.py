"""The whole lab as a person meets it: a real process, the embedded model, Chromium, one run from Start to Compare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROJECT = Path(__file__).parents[2]
SMALL = {
    "rollout-groups_per_step": 4,
    "rollout-group_size": 8,
    "schedule-evaluation_prompts": 6,
    "schedule-evaluate_every": 2,
    "schedule-num_steps": 500,
}
PATIENCE = 180_000
"""Milliseconds: two busy cores may take their time."""


@pytest.fixture
def lab_url(tmp_path: Path, free_port: int) -> Iterator[str]:
    """A lab started as the README says, and ended as a person does, with Ctrl-C."""
    command = [sys.executable, "-m", "app", "--folder", str(tmp_path / "lab"), "--port", str(free_port)]
    with (tmp_path / "lab.log").open("w") as log:
        lab = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    url = f"http://127.0.0.1:{free_port}"
    _wait_for(url, lab, tmp_path / "lab.log")
    yield url
    in_background = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell lets what runs there ignore Ctrl-C
    lab.send_signal(signal.SIGTERM if in_background else signal.SIGINT)
    try:
        assert lab.wait(timeout=90) == 0, (tmp_path / "lab.log").read_text()
    finally:
        lab.kill()


def _wait_for(url: str, lab: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert lab.poll() is None, log.read_text()
        try:
            with urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the lab did not answer: {log.read_text()}")


def _fill_small_settings(page) -> None:
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("button", name="Schedule").click()
    for name, value in SMALL.items():
        page.locator(f"#setting-{name} input").fill(str(value))


def _steps_done(page) -> int:
    return int(page.locator("#status").get_by_text("steps done").text_content().split()[0])


def _save_model(page) -> None:
    """Opens the only run and has its newest checkpoint saved."""
    page.locator("#runs-list").get_by_role("button", name="shapes").click()
    page.get_by_role("button", name="Save model").click()
    page.locator("#saving-state").get_by_text("is being saved to").wait_for()
    page.locator("#saving-state").get_by_text("is in ").wait_for()
    page.locator("#saved-models").get_by_text("whole pipeline").wait_for()


def test_a_run_from_start_to_comparison_and_a_saved_model(lab_url, open_page, take_picture, tmp_path):
    page = open_page(lab_url)
    page.set_default_timeout(PATIENCE)
    page.locator("#start").wait_for()
    _fill_small_settings(page)
    page.locator("#start").click()
    page.locator("#status").get_by_text("running").wait_for()
    page.wait_for_selector("#wall .lab-tile img")
    assert page.locator("#wall .lab-group").count() == SMALL["rollout-groups_per_step"]
    assert page.locator("#wall .lab-group").first.locator(".lab-tile").count() == SMALL["rollout-group_size"]

    page.reload()
    page.wait_for_selector("#wall .lab-tile img")
    for chart in ("score", "reward"):
        page.wait_for_selector(f"#curves [data-chart={chart}] .main-svg")
    assert page.locator("#start").is_disabled()

    page.get_by_role("button", name="Pause").click()
    page.locator("#status").get_by_text("paused", exact=True).first.wait_for()
    paused_at = _steps_done(page)
    assert paused_at > 0
    take_picture(page, "lab-running", full_page=True)
    page.set_viewport_size({"width": 1360, "height": 1000})
    take_picture(page, "screenshot")

    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-prompts input").fill("6")
    page.locator("#compare-ask").click()
    page.wait_for_selector("#compare-gallery img")
    page.wait_for_selector("#compare-scores table")
    take_picture(page, "lab-compare", full_page=True)

    page.get_by_role("tab", name="Train").click()
    assert _steps_done(page) == paused_at
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function(
        f"Number(document.querySelector('#status').textContent.match(/(\\d+) of 500 steps done/)?.[1]) > {paused_at}"
    )
    page.get_by_role("button", name="Stop").click()
    page.locator("#status").get_by_text("stopped", exact=True).first.wait_for()
    page.wait_for_function("!document.querySelector('#start').disabled")

    page.get_by_role("tab", name="Runs").click()
    page.locator("#runs-list").get_by_text("stopped").wait_for()
    _save_model(page)
    take_picture(page, "lab-runs", full_page=True)
    assert (tmp_path / "lab" / "models" / f"run-1-step-{_steps_done(page)}" / "model_index.json").is_file()
