"""The Rewards tab in a real Chromium: a reward tried on uploaded pictures, by the real bench."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from store_actions import StoreActions
from synthetic import step_done

from app.settings import Settings
from app.store.rows import TrialWish
from app.store.writer import Writer
from app.trials import bench_of, judged
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import RunStarted
from dgpo_core.rewards.ocr import written

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser


class TryingActions(StoreActions):
    """Judges at once, where the lab has a thread for it."""

    def try_reward(self, wish: TrialWish) -> int:
        settings = Settings()
        bench = bench_of(wish, None, settings)
        trial_id = self.writer.request_trial(wish, bench.pngs)
        self.writer.finish_trial(trial_id, judged(bench, settings, lambda: None))
        return trial_id


def fill(writer: Writer) -> None:
    run_id = writer.create_run(to_dict(RunConfig()) | {"name": "one"}, 100)
    writer.record(run_id, RunStarted(first_step=0, num_steps=100, num_trainable=1))
    writer.record(run_id, step_done(0))
    writer.flush()


@pytest.fixture
def files(tmp_path):
    paths = []
    for name, shade in (("dark", 20), ("grey", 120), ("light", 230)):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(np.tile(written(name.upper())[..., :1] // 4 + shade // 2, (1, 1, 3))).save(paths[-1])
    return [str(path) for path in paths]


def test_a_reward_is_tried_on_uploaded_pictures(open_lab, open_page, files, take_picture):
    lab = open_lab(fill, TryingActions)
    page = open_page(lab.url)
    page.get_by_role("tab", name="Rewards").click()
    expect(page.locator("#trial-heading")).to_contain_text("No reward was tried yet")
    reward = page.locator("#trial-reward input")
    reward.fill("brightness")
    reward.press("Enter")
    expect(page.locator("#trial-facts")).to_contain_text("Measures mean luma. Range: 0 to 1")
    page.locator("#trial-files input[type=file]").set_input_files(files)
    expect(page.locator("#trial-files")).to_contain_text("light")
    page.locator("#trial-prompt textarea, #trial-prompt input").first.fill("a <b>cat</b> ${x}")
    page.locator("#trial-ask").click()
    expect(page.locator("#trial-heading")).to_contain_text("Self-test passed: brightness puts 1 of 1")
    expect(page.locator("#trial-pictures img")).to_have_count(3)
    expect(page.locator("#trial-histogram tbody tr")).to_have_count(10)
    take_picture(page, "rewards-tab", full_page=True)
    page.reload()
    page.get_by_role("tab", name="Rewards").click()
    expect(page.locator("#trial-pictures img")).to_have_count(3)


def test_what_is_wrong_is_said_and_a_group_can_be_chosen(open_lab, open_page, take_picture):
    lab = open_lab(fill, TryingActions)
    page = open_page(lab.url)
    page.get_by_role("tab", name="Rewards").click()
    page.locator("#trial-ask").click()
    expect(page.locator("#trial-trouble")).to_contain_text("1 to 64 pictures can be tried at once, got 0")
    page.get_by_label("A group of a run").check()
    expect(page.locator("#trial-run")).to_be_visible()
    expect(page.locator("#trial-files")).to_be_hidden()
    expect(page.locator("#trial-run input")).to_have_value("one (run 1, 1 steps)")
    take_picture(page, "rewards-tab-group", full_page=True)
