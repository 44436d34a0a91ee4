"""What labels did, on the Label page in a real Chromium."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import HOSTILE, PROMPTS, evaluation, fill_live_run, step_done

from app.store.rows import Said
from app.store.writer import Writer
from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

RATER = "<i>ann</i> ${x}"


def label_step(writer: Writer, run_id: int, step: int) -> None:
    """A step in which one person ranked every group before it was done."""
    done = step_done(step)
    groups = [PostedGroup(one.index, one.prompt, tuple(sample.png for sample in one.samples)) for one in done.groups]
    writer.record(run_id, GroupsPosted(step=step, groups=tuple(groups)))
    writer.flush()
    while (task_id := writer.lease_next(RATER)) is not None:
        body = {"tiers": [[2], [0, 1]]}
        said = Said(task_id=task_id, rater=RATER, kind="ranking", body=body, seconds=2.0, request=f"label {task_id}")
        writer.put_label(said)
    count = len(groups)
    writer.record(run_id, GroupsClosed(step=step, num_groups=count, num_asked=count, num_labelled=count, rest=""))
    writer.record(run_id, done)


def fill(writer: Writer) -> None:
    run_id = fill_live_run(writer, 2)
    label_step(writer, run_id, 2)
    label_step(writer, run_id, 3)
    writer.record(run_id, replace(evaluation(10), step=4))
    writer.flush()


def test_a_step_with_its_labels_advantages_and_changes_is_shown_and_walked_from(open_lab, open_page, take_picture):
    page = open_page(open_lab(fill).url, "/label")
    panel = page.locator("#label-effects")
    expect(panel).to_contain_text(f"step 3: 6 labels by {RATER} on 6 of 6 groups")
    expect(panel.locator(".lab-effect-group h3")).to_have_text(list(PROMPTS))
    expect(panel.locator(".lab-effect-group").first).to_contain_text(f"{RATER}: 3 > 1 = 2")
    expect(panel.locator(".lab-changes dd")).to_have_count(3)
    expect(panel).to_contain_text("examined at step 0 and at step 4; 4 steps lie between them")
    expect(panel.locator(".lab-effect-pairs figure")).to_have_count(6)
    take_picture(page, "label-effects", full_page=True)
    panel.get_by_role("button", name="Earlier step").click()
    expect(panel).to_contain_text("step 2: 6 labels")
    panel.get_by_role("button", name="Later step").click()
    expect(panel).to_contain_text("step 3: 6 labels")
    panel.locator(".lab-effect-sample").first.click()
    expect(page.locator("dialog[open]")).to_contain_text("People's score")
    assert HOSTILE in PROMPTS


def test_before_the_first_labelled_step_the_panel_says_what_will_come(open_lab, open_page):
    page = open_page(open_lab(lambda writer: fill_live_run(writer, 1)).url, "/label")
    expect(page.locator("#label-effects")).to_contain_text("Once a step has learned from your labels")
