"""A against B on the Label page in a real Chromium, by keys and by touch."""

from __future__ import annotations

from itertools import pairwise

import pytest
from label_hand import PHONE, PROMPTS, fill, labels, prompt_of, soon, type_at_once

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


@pytest.fixture
def page(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    return page


ORDER = [2, 0, 3, 1]  # from best to worst


def test_pairs_are_asked_until_the_order_is_known(lab, page):
    page.locator("[data-way='pairs']").click()
    for _ in range(6):
        if prompt_of(page).text_content() != PROMPTS[0]:
            break
        shown = page.locator(".lab-label-tile:not([hidden])").evaluate_all(
            "tiles => tiles.toSorted((a, b) => a.style.order - b.style.order).map(one => Number(one.dataset.member))"
        )
        assert len(shown) == 2
        page.keyboard.press("1" if ORDER.index(shown[0]) < ORDER.index(shown[1]) else "2")
        page.wait_for_timeout(50)
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    [(_, kind, body)] = labels(lab)
    wins = {(one["first"], one["second"])[one["verdict"] == "second"] for one in body["verdicts"]}
    assert kind == "pairs"
    assert 3 <= len(body["verdicts"]) <= 5
    assert ORDER[-1] not in wins
    for better, worse in pairwise(ORDER):
        neighbours = [one for one in body["verdicts"] if {one["first"], one["second"]} == {better, worse}]
        assert len(neighbours) == 1, "an order is known when all neighbours were compared"


def test_pairs_know_ties_by_key_and_touch_and_undo_one_verdict_at_a_time(lab, open_page):
    page = open_page(lab.url, "/label", **PHONE)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.locator("[data-way='pairs']").tap()
    expect(page.locator(".lab-label-help")).to_contain_text("Pair 1 of at most 5")
    page.locator("[data-action='both']").tap()
    expect(page.locator(".lab-label-help")).to_contain_text("Pair 2 of at most 5")
    page.locator("[data-action='undo']").tap()
    expect(page.locator(".lab-label-help")).to_contain_text("Pair 1 of at most 5")
    page.locator("[data-action='neither']").tap()
    page.keyboard.press("b")
    page.locator(".lab-label-tile:not([hidden]) .lab-label-press").first.tap()
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    [(_, _, body)] = labels(lab)
    assert [one["verdict"] for one in body["verdicts"]][:2] == ["neither", "both"]


def test_a_group_whose_pairs_were_all_judged_is_asked_anew_and_nothing_is_sent_before(lab, page):
    page.locator("[data-way='pairs']").click()
    type_at_once(page, "1", "1", "1", "1", "1")
    expect(prompt_of(page)).not_to_have_text(PROMPTS[0])
    [before] = labels(lab)
    page.keyboard.press("ArrowLeft")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    for number, key in enumerate("bbb", start=1):
        expect(page.locator(".lab-label-help")).to_contain_text(f"Pair {number} of at most 5")
        assert labels(lab) == [before]
        page.keyboard.press(key)
    soon(page, lambda: [one["verdict"] for one in labels(lab)[0][2]["verdicts"]] == ["both"] * 3)


def test_both_ties_have_a_key(lab, page):
    page.locator("[data-way='pairs']").click()
    for key, pair in (("n", 2), ("b", 3)):
        page.keyboard.press(key)
        expect(page.locator(".lab-label-help")).to_contain_text(f"Pair {pair} of at most 5")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    [(_, kind, body)] = labels(lab)
    assert (kind, [one["verdict"] for one in body["verdicts"]]) == ("pairs", ["neither", "both"])
