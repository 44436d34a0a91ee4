"""Groups that come to the Label page, or go from it, without a key that asked for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from label_hand import NO_GROUP, PROMPTS, answer_of, fill, labels, mark_of, posted, prompt_of, soon, type_at_once

from app.settings import Settings

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

ANEW = ("a green triangle", "a blue circle", "an orange square")
CALLS = "**/component_server/"


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


@pytest.fixture
def page(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    return page


def draw_anew(lab) -> None:
    """The step draws other pictures, which closes its groups and opens new ones."""
    lab.writer.record(1, posted(ANEW, seed=1))
    lab.writer.flush()


def hold_next(page) -> list:
    """Where the page's calls for the next group are kept until a test lets them go on."""
    held: list = []
    page.route(CALLS, lambda route: held.append(route) if '"next"' in route.request.post_data else route.continue_())
    return held


def type_when_in_sight(page, prompt: str, *keys: str) -> None:
    """Keys of the moment in which a group comes: nobody has looked at it yet."""
    page.evaluate(
        """async ([prompt, keys]) => {
             const patience = performance.now() + 20_000;
             while (document.querySelector(".lab-label-prompt").textContent !== prompt && performance.now() < patience)
               await new Promise((done) => setTimeout(done, 5));
             for (const key of keys) document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
           }""",
        [prompt, list(keys)],
    )


def looked_at(page) -> None:
    """Waits until what is pressed counts again."""
    expect(page.locator(".lab-label-tiles")).not_to_have_attribute("aria-busy", "true")


def test_half_a_ranking_of_a_group_that_training_closed_is_not_said_of_the_next(lab, page):
    held = hold_next(page)
    page.keyboard.press("1")
    draw_anew(lab)
    soon(page, lambda: held)
    type_at_once(page, "2", "Enter")
    held.pop().continue_()
    type_when_in_sight(page, ANEW[0], "3", "4", "Enter")
    expect(answer_of(page)).to_contain_text("Training went on without the group you had in hand. Here is the next.")
    expect(answer_of(page)).to_contain_text("What you pressed meanwhile (5) was left out.")
    looked_at(page)
    expect(prompt_of(page)).to_have_text(ANEW[0])
    expect(mark_of(page, 2)).to_have_text("")
    assert labels(lab) == []
    type_at_once(page, "2", "1", "Enter")
    expect(prompt_of(page)).to_have_text(ANEW[1])
    assert labels(lab) == [(0, "ranking", {"tiers": [[1], [0]]})]


def test_keys_of_an_empty_page_are_not_said_of_the_group_that_comes_to_it(lab, page):
    type_at_once(page, "1", "Enter", "1", "Enter", "1", "Enter")
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    draw_anew(lab)
    type_when_in_sight(page, ANEW[0], "3", "Enter", "Backspace")
    expect(answer_of(page)).to_contain_text("What you pressed meanwhile (3) was left out.")
    looked_at(page)
    assert labels(lab) == []
    type_at_once(page, "2", "Enter")
    expect(prompt_of(page)).to_have_text(ANEW[1])
    assert labels(lab) == [(0, "ranking", {"tiers": [[1]]})]


@pytest.fixture
def leased(open_lab):
    """A lab whose only group another person has in hand."""

    def fill_leased(writer) -> None:
        fill(writer, posted(PROMPTS[:1]))
        writer.lease_next("another")

    return open_lab(fill_leased)


def test_a_group_whose_time_with_another_person_ran_out_comes_by_itself(leased, open_page):
    page = open_page(leased.url, "/label")
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    expect(page.locator(".lab-label-progress")).to_have_text("0 of 1 open groups labelled; 0 by you")
    with closing(sqlite3.connect(Settings(folder=leased.folder).database)) as db, db:
        db.execute("UPDATE leases SET expires = '2000-01-01'")  # as time does: the store counts no change
    expect(prompt_of(page)).to_have_text(PROMPTS[0])


def test_a_page_that_waits_for_a_group_changes_nothing_in_the_store(leased, open_page):
    page = open_page(leased.url, "/label")
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    before = leased.reader.change_token()
    page.wait_for_timeout(6000)  # more than two of its looks at the store
    assert leased.reader.change_token() == before
