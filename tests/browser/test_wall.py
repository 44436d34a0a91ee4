"""Going through the steps of the wall of groups, in a real Chromium, while a run goes on."""

from __future__ import annotations

import pytest
from synthetic import fill_live_run, step_done

pytestmark = pytest.mark.browser

NUM_STEPS = 12


def fill(writer):
    fill_live_run(writer, NUM_STEPS)


def test_the_wall_steps_back_stays_there_and_returns_to_the_newest(open_lab, open_page):
    lab = open_lab(fill)
    page = open_page(lab.url)
    page.wait_for_selector("#wall .lab-tile img")
    page.get_by_role("button", name="Older").click()
    page.locator("#wall .lab-walk").get_by_text(f"step {NUM_STEPS - 2}", exact=True).wait_for()
    lab.writer.record(1, step_done(NUM_STEPS))
    lab.writer.flush()
    page.get_by_text(f"{NUM_STEPS + 1} of 600 steps done").wait_for()
    assert page.locator("#wall .lab-step").text_content() == f"step {NUM_STEPS - 2}"
    page.get_by_role("button", name="Live", exact=True).click()
    page.locator("#wall .lab-walk").get_by_text(f"step {NUM_STEPS}", exact=True).wait_for()


def test_the_slider_stays_where_it_is_held_while_steps_arrive(open_lab, open_page):
    lab = open_lab(fill)
    page = open_page(lab.url)
    slider = page.get_by_label("Step shown")
    slider.wait_for()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, middle, steps=5)
    held = slider.input_value()
    assert 0 < int(held) < NUM_STEPS - 1
    lab.writer.record(1, step_done(NUM_STEPS))
    lab.writer.flush()
    page.locator("#status").get_by_text(f"{NUM_STEPS + 1} of 600 steps done").wait_for()
    page.wait_for_timeout(300)
    assert slider.input_value() == held
    page.mouse.up()
    page.locator("#wall .lab-step").get_by_text(f"step {held}", exact=True).wait_for()
    page.locator("#wall .lab-walk button[aria-pressed=false]").get_by_text("Live").wait_for()
