"""The Label page in a real Chromium: by keys and by touch, over a store that the real Writer filled."""

from __future__ import annotations

import json

import pytest
from synthetic import HOSTILE, picture

from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsPosted, PostedGroup

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

PROMPTS = ("two blue squares", HOSTILE, "a red circle")
SIZE = 4


def fill(writer: Writer) -> None:
    from random import Random

    run_id = writer.create_run(to_dict(RunConfig()), 10)
    groups = [
        PostedGroup(index, prompt, tuple(picture(Random(10 * index + member)) for member in range(SIZE)))
        for index, prompt in enumerate(PROMPTS)
    ]
    writer.record(run_id, GroupsPosted(step=0, groups=tuple(groups)))
    writer.flush()


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


def labels(lab):
    return [(row.group_index, row.kind, row.body) for row in lab.reader.labels_of_step(1, 0)]


def prompt_of(page):
    return page.locator(".lab-label-prompt")


def test_groups_are_ranked_by_keys_alone_and_follow_each_other(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.keyboard.press("3")
    expect(page.locator("[data-member='2'] .lab-label-mark")).to_have_text("1.")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1].replace("\u202e", "\u202e"))
    assert labels(lab) == [(0, "ranking", {"tiers": [[2], [0]]})]
    for key in "4321":  # the last one sends by itself
        page.keyboard.press(key)
    expect(prompt_of(page)).to_have_text(PROMPTS[2])
    assert labels(lab)[1] == (1, "ranking", {"tiers": [[3], [2], [1], [0]]})
    page.keyboard.press("Backspace")
    expect(prompt_of(page)).to_have_text(PROMPTS[2])  # skipped, and the only one left
    assert len(labels(lab)) == 2
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).to_have_text("No group waits for you.")
    expect(page.locator(".lab-label-progress")).to_contain_text("3 of 3 open groups labelled; 3 by you")


def test_keys_faster_than_the_lab_are_not_lost(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.evaluate(
        """() => { for (const key of ["1","2","Enter","2","1","Enter","3","Enter"])
             document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })); }"""
    )
    expect(prompt_of(page)).to_have_text("No group waits for you.")
    assert [body["tiers"] for _, _, body in labels(lab)] == [[[0], [1]], [[1], [0]], [[2]]]


def test_undo_takes_a_press_back_and_then_the_last_group(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.keyboard.press("1")
    page.keyboard.press("Control+z")
    expect(page.locator("[data-member='0'] .lab-label-mark")).to_have_text("")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).not_to_have_text(PROMPTS[0])
    page.keyboard.press("Control+z")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    assert labels(lab) == []


@pytest.mark.parametrize(
    ("mode", "presses", "expected"),
    [
        ("picks", [0, 3], ("picks", {"best": [0, 3]})),
        ("likes", [1, 2, 2], ("likes", {"liked": [1], "disliked": [2]})),
        ("stars", [0, 0, 3], ("stars", {"stars": [2, None, None, 1]})),
    ],
)
def test_every_way_of_judging_works_by_touch_on_a_phone(lab, open_page, mode, presses, expected):
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = open_page(lab.url, "/label", **phone)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.get_by_label("How to judge").select_option(mode)
    for member in presses:
        page.locator(f"[data-member='{member}']").tap()
    page.locator("[data-action='send']").tap()
    expect(prompt_of(page)).not_to_have_text(PROMPTS[0])
    assert json.loads(json.dumps(labels(lab)[0][1:])) == list(expected)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_what_cannot_be_sent_is_said_and_the_group_stays(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.keyboard.press("Enter")
    expect(page.locator("#label .lab-answer")).to_contain_text("Rank one or more")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])


def test_the_label_page_is_linked_from_the_lab(lab, open_page):
    page = open_page(lab.url)
    page.get_by_role("link", name="Label").click()
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
