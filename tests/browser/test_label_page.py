"""The Label page in a real Chromium: by keys and by touch, over a store that the real Writer filled."""

from __future__ import annotations

import json
import re
from io import BytesIO
from statistics import median

import pytest
from label_hand import (
    NO_GROUP,
    PHONE,
    PROMPTS,
    SIZE,
    answer_of,
    fill,
    labels,
    mark_of,
    posted,
    prompt_of,
    soon,
    type_at_once,
)
from PIL import Image, ImageChops

from dgpo_core.events import GroupsClosed, GroupsPosted, PostedGroup

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

GOAL_SECONDS = 0.15


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


@pytest.fixture
def page(lab, open_page):
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    return page


def test_groups_are_ranked_by_keys_alone_and_follow_each_other(lab, page):
    page.keyboard.press("3")
    expect(mark_of(page, 2)).to_have_text("1.")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
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
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    expect(page.locator(".lab-label-progress")).to_contain_text("3 of 3 open groups labelled; 3 by you")


def test_keys_faster_than_the_lab_are_not_lost(lab, page):
    type_at_once(page, "1", "2", "Enter", "2", "1", "Enter", "3", "Enter")
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    assert [body["tiers"] for _, _, body in labels(lab)] == [[[0], [1]], [[1], [0]], [[2]]]


def test_keys_typed_behind_an_enter_that_said_nothing_count_for_the_group_that_stays(lab, page):
    type_at_once(page, "Enter", "2", "1", "Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    assert labels(lab) == [(0, "ranking", {"tiers": [[1], [0]]})]


def test_keys_typed_behind_a_way_that_leads_nowhere_are_left_out_and_that_is_said(lab, page):
    type_at_once(page, "ArrowLeft", "2", "1", "Enter")
    expect(answer_of(page)).to_have_text(
        "There is no earlier group of yours. Right goes forward again. What you pressed meanwhile (3) was left out."
    )
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    assert labels(lab) == []


def test_undo_takes_a_press_back_and_then_the_last_group(lab, page):
    page.keyboard.press("1")
    page.keyboard.press("Control+z")
    expect(mark_of(page, 0)).to_have_text("")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(prompt_of(page)).not_to_have_text(PROMPTS[0])
    page.keyboard.press("Control+z")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    assert labels(lab) == []


def test_arrows_lead_to_an_own_label_that_is_edited_and_back_to_the_group_in_hand(lab, page):
    type_at_once(page, "1", "2", "Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    page.keyboard.press("ArrowLeft")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    expect(mark_of(page, 1)).to_have_text("2.")
    expect(page.locator(".lab-label-note")).to_contain_text("You labelled this group.")
    page.keyboard.press("ArrowRight")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    type_at_once(page, "ArrowLeft", "1", "Enter")
    soon(page, lambda: labels(lab) == [(0, "ranking", {"tiers": [[1]]})])
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    page.keyboard.press("Control+z")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    assert labels(lab) == [(0, "ranking", {"tiers": [[0], [1]]})]
    type_at_once(page, "ArrowLeft")
    expect(answer_of(page)).to_contain_text("There is no earlier group of yours.")


def test_an_earlier_label_is_shown_in_the_way_it_was_given(lab, page):
    page.locator("[data-way='stars']").click()
    type_at_once(page, "2", "2", "2", "Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    page.locator("[data-way='ranking']").click()
    page.keyboard.press("ArrowLeft")
    expect(mark_of(page, 1)).to_have_text("\u2605" * 3)
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-way='ranking']")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("mode", "presses", "expected"),
    [
        ("ranking", [2, 0], ("ranking", {"tiers": [[2], [0]]})),
        ("picks", [0, 3], ("picks", {"best": [0, 3]})),
        ("likes", [1, 2, 2], ("likes", {"liked": [1], "disliked": [2]})),
        ("stars", [0, 0, 3], ("stars", {"stars": [2, None, None, 1]})),
    ],
)
def test_every_way_but_pairs_works_by_touch_on_a_phone(lab, open_page, mode, presses, expected):
    page = open_page(lab.url, "/label", **PHONE)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    page.locator(f"[data-way='{mode}']").tap()
    for member in presses:
        page.locator(f"[data-member='{member}'] .lab-label-press").tap()
    page.locator("[data-action='send']").tap()
    expect(prompt_of(page)).not_to_have_text(PROMPTS[0])
    assert json.loads(json.dumps(labels(lab)[0][1:])) == list(expected)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_likes_and_dislikes_are_given_by_keys(lab, page):
    page.locator("[data-way='likes']").click()
    for key in ("2", "3", "3", "1", "1", "1"):
        page.keyboard.press(key)
    assert [mark_of(page, member).text_content() for member in range(SIZE)] == ["", "like", "dislike", ""]
    page.keyboard.press("Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    assert labels(lab) == [(0, "likes", {"liked": [1], "disliked": [2]})]


def test_a_key_without_a_picture_sends_no_ranking(lab, page):
    type_at_once(page, *"1234")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    page.keyboard.press("ArrowLeft")
    expect(mark_of(page, 3)).to_have_text("4.")
    page.keyboard.press("9")
    page.wait_for_timeout(300)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])


def test_keys_are_changed_remembered_and_refused_where_they_are_taken(lab, page):
    page.get_by_text("Keys", exact=True).click()
    page.locator("[data-key='skip']").click()
    page.keyboard.press("1")
    keys = page.locator(".lab-key-list .lab-answer")
    expect(keys).to_contain_text("1 is the key of \u201cPicture 1\u201d already.")
    page.keyboard.press("Tab")
    expect(keys).to_contain_text("Tab is kept for moving about.")
    page.keyboard.press("x")
    expect(page.locator("[data-key='skip']")).to_have_text("x")
    page.reload()
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    expect(page.locator("[data-action='skip']")).to_have_attribute("data-hint", "x")
    page.keyboard.press("Backspace")
    page.keyboard.press("x")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    page.get_by_text("Keys", exact=True).click()
    page.get_by_text("Back to the usual keys").click()
    expect(page.locator("[data-key='skip']")).to_have_text("Backspace")


def test_what_is_typed_into_a_field_becomes_no_key(lab, page):
    page.get_by_text("Keys", exact=True).click()
    page.locator("[data-key='skip']").click()
    page.get_by_label("Your name").fill("")
    page.get_by_label("Your name").press_sequentially("max")
    expect(page.get_by_label("Your name")).to_have_value("max")
    expect(page.locator("[data-key='skip']")).to_have_text("Backspace")


def test_all_of_a_large_group_and_the_way_to_judge_have_keys(open_lab, open_page):
    lab = open_lab(lambda writer: fill(writer, posted(PROMPTS[:1], size=24)))
    page = open_page(lab.url, "/label")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    expect(page.locator("[data-member='20'] kbd")).to_have_text("a")
    for way in ("picks", "likes", "stars", "pairs", "ranking", "picks"):
        page.keyboard.press("m")
        expect(page.locator(f"[data-way='{way}']")).to_have_attribute("aria-pressed", "true")
    type_at_once(page, "1", "a", "f", "Enter")
    soon(page, lambda: labels(lab) == [(0, "picks", {"best": [0, 20, 23]})])


def test_a_key_that_a_person_chose_is_theirs_also_where_it_has_a_use_of_its_own_now(lab, page):
    page.evaluate("localStorage.setItem('lab-label-keys', JSON.stringify({picture0: 'm', picture1: 'a'}))")
    page.reload()
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    type_at_once(page, "a", "m", "Enter")
    soon(page, lambda: labels(lab) == [(0, "ranking", {"tiers": [[1], [0]]})])


def test_two_browsers_are_two_people_until_they_say_otherwise(lab, open_page):
    names = []
    for _ in range(2):
        page = open_page(lab.url, "/label")
        expect(page.get_by_label("Your name")).to_have_value(re.compile("^me-[0-9a-f]{4}$"))
        names.append(page.get_by_label("Your name").input_value())
        page.reload()
        expect(page.get_by_label("Your name")).to_have_value(names[-1])
    assert names[0] != names[1]


@pytest.mark.parametrize("stored", ["{", "[]", "null", '{"skip": 3, "dance": "x"}'])
def test_keys_that_are_remembered_wrong_leave_the_usual_ones(lab, page, stored):
    page.evaluate("text => localStorage.setItem('lab-label-keys', text)", stored)
    page.reload()
    expect(page.locator("[data-action='skip']")).to_have_attribute("data-hint", "Backspace")


def test_a_picture_is_enlarged_on_demand_and_keys_then_judge_nothing(lab, page):
    page.locator("[data-member='1'] .lab-label-zoom").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("img")).to_have_attribute("alt", "picture 2")
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("img")).to_have_attribute("alt", "picture 3")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    expect(mark_of(page, 0)).to_have_text("")
    page.locator("[data-member='3']").hover()
    page.keyboard.press("z")
    expect(dialog.locator("img")).to_have_attribute("alt", "picture 4")


def test_pictures_that_are_not_square_are_shown_whole(open_lab, open_page):
    colour = (200, 30, 60)
    png = BytesIO()
    Image.new("RGB", (96, 64), colour).save(png, "PNG")
    groups = GroupsPosted(step=0, groups=(PostedGroup(0, PROMPTS[0], (png.getvalue(),) * 2),))
    page = open_page(open_lab(lambda writer: fill(writer, groups)).url, "/label")
    image = page.locator("[data-member='1'] img")
    expect(image).to_have_js_property("naturalWidth", 96)
    expect(image).to_have_css("object-fit", "contain")
    shown = Image.open(BytesIO(image.screenshot())).convert("RGB")
    distance = ImageChops.difference(shown, Image.new("RGB", shown.size, colour)).convert("L")
    left, top, right, bottom = distance.point(lambda value: 255 * (value < 20)).getbbox()
    assert (right - left) / (bottom - top) == pytest.approx(96 / 64, rel=0.03)
    assert right - left > 0.95 * shown.width, "as large as there is room"


def test_what_says_nothing_is_not_sent_in_any_way_and_the_group_stays(lab, page):
    ways = {
        "ranking": "Rank one or more, or skip the group.",
        "picks": "Pick at least one picture, or skip the group.",
        "likes": "Like or dislike at least one picture, or skip the group.",
        "stars": "Give stars to at least one picture, or skip the group.",
        "pairs": "Judge at least one pair, or skip the group.",
    }
    for way, words in ways.items():
        page.locator(f"[data-way='{way}']").click()
        type_at_once(page, *("111" if way == "likes" else ""), "Enter")
        expect(answer_of(page)).to_have_text(words)
    expect(prompt_of(page)).to_have_text(PROMPTS[0])


def test_the_time_a_label_took_is_stored_and_its_pace_is_shown(lab, page):
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    expect(page.locator(".lab-label-progress")).to_have_text(
        re.compile(r"^1 of 3 open groups labelled; 1 by you, \d+\.\d s each, about \d+ s left$")
    )
    [label] = lab.reader.labels_of_step(1, 0)
    assert 0.3 <= label.seconds < 60


def test_a_group_that_training_went_on_without_makes_room_for_what_comes(lab, page):
    lab.writer.record(1, GroupsClosed(step=0, num_groups=3, num_asked=3, num_labelled=0, rest="the rest was left out"))
    lab.writer.flush()
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    expect(answer_of(page)).to_contain_text("Training went on without the group you had in hand.")


def test_a_label_of_a_closed_group_can_be_looked_at_but_not_sent(lab, page):
    type_at_once(page, "1", "Enter")
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    lab.writer.record(1, GroupsClosed(step=0, num_groups=3, num_asked=3, num_labelled=1, rest="the rest was left out"))
    lab.writer.flush()
    expect(prompt_of(page)).to_have_text(NO_GROUP)
    page.keyboard.press("ArrowLeft")
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
    expect(page.locator(".lab-label-note")).to_contain_text("It can be looked at, not changed.")
    expect(page.locator("[data-action='send']")).to_be_disabled()


def lose(route):
    """An answer with nothing in it, as of a lab that broke on the way."""
    route.fulfill(status=200, content_type="application/json", body="null")


def test_a_label_the_lab_never_answered_is_sent_when_the_page_is_opened_again(lab, page):
    page.route(
        "**/component_server/", lambda route: lose(route) if '"put"' in route.request.post_data else route.continue_()
    )
    type_at_once(page, "2", "Enter")
    expect(answer_of(page)).to_contain_text("The lab does not answer. What you said is kept")
    assert labels(lab) == []
    page.unroute_all()
    page.reload()
    expect(prompt_of(page)).to_have_text(PROMPTS[1])
    assert labels(lab) == [(0, "ranking", {"tiers": [[1]]})]


def test_the_next_group_is_in_sight_soon_after_the_key(open_lab, open_page):
    """Half a second for all keys; for one the goal of docs/results.md, which a busy machine may miss once."""
    from benchmarks import label_page

    lab = open_lab(lambda writer: fill(writer, *label_page.posted(36)))
    page = open_page(lab.url, "/label")
    found = label_page.times(page, f"{lab.url}/label", 5)
    assert len(lab.reader.labels_of_run(1)) == 16
    assert all(len(seconds) == 5 and median(seconds) < 0.5 for seconds in found.values())
    if median(found["key_seconds"]) >= GOAL_SECONDS:
        found = label_page.times(page, f"{lab.url}/label", 5)
    assert median(found["key_seconds"]) < GOAL_SECONDS


def test_the_label_page_is_linked_from_the_lab(lab, open_page):
    page = open_page(lab.url)
    page.get_by_role("link", name="Label").click()
    expect(prompt_of(page)).to_have_text(PROMPTS[0])
