"""The People tab in a real Chromium, over labels that the real Writer stored."""

from __future__ import annotations

import pytest

from app.store.rows import Agreement, Said
from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsPosted, PostedGroup, PreferenceLearned

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser


def fill(writer: Writer) -> None:
    run_id = writer.create_run(to_dict(RunConfig(name="by people")), 100)
    writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, "a <b>cat</b>", (b"one", b"two")),)))
    writer.flush()
    task_id = writer.lease_next("ann")
    said = {"kind": "picks", "body": {"best": [0]}, "seconds": 2.5, "request": "request one"}
    label_id = writer.put_label(Said(task_id=task_id, rater="ann", **said))
    writer.put_agreements([Agreement(label_id, "reward", "brightness", -0.5)])
    learned = {"version": 1, "folder": "version-1", "num_groups": 4, "num_labels": 5, "bins": ((0.9, 0.8, 40),)}
    writer.record(run_id, PreferenceLearned(step=1, accuracy=0.8125, calibration_error=0.125, **learned))
    writer.flush()


def test_raters_prompts_and_versions_are_shown_as_they_are_stored(open_lab, open_page):
    page = open_page(open_lab(fill).url)
    page.get_by_role("tab", name="People").click()
    expect(page.locator("#people-heading")).to_contain_text("by people (run 1): 1 label by one person.")
    expect(page.locator("#people-versions tbody tr")).to_have_text(["version-11540.8120.1254090%: 80%"])
    expect(page.locator("#people-raters tbody tr td").first).to_have_text("ann")
    expect(page.locator("#people-raters")).to_contain_text("-0.50 (1)")
    expect(page.locator("#people-prompts")).to_contain_text("a <b>cat</b>")


def test_without_labels_the_tab_says_how_to_get_some(open_lab, open_page):
    page = open_page(open_lab().url)
    page.get_by_role("tab", name="People").click()
    expect(page.locator("#people-heading")).to_contain_text("No label yet.")
