from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.data.requests import (
    CATEGORIES,
    ENDINGS,
    MAX_WORDS,
    OPENINGS,
    RELATIONS,
    Request,
    Wanted,
    all_requests,
    parse_request,
    picture_of,
)
from dgpo_core.data.scenes import COLORS, SHAPES, relation_between
from dgpo_core.errors import PromptError


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_wording_of_every_request_reads_back(category):
    requests = all_requests(category)
    assert len(requests) == len(set(requests))
    for request in requests:
        for opening, ending in product(OPENINGS, ENDINGS):
            words = request.wording(opening, ending)
            assert parse_request(words) == request
            assert len(words.split()) <= MAX_WORDS


def test_there_are_as_many_requests_as_combinations():
    counts = [len(all_requests(category)) for category in CATEGORIES]
    assert counts == [6, 6 * 5, 3 * 6, 6 * 6, 6 * 5 * 4, 6 * 5 * 6 * 5]


def test_an_unknown_category_is_a_bug():
    with pytest.raises(ValueError, match="category must be one of single, two, counting"):
        all_requests("texture")


@pytest.mark.parametrize(
    ("prompt", "request_"),
    [
        ("a circle", Request("single", (Wanted("circle"),))),
        ("A Red  Circle.", Request("colors", (Wanted("circle", "red"),))),
        ("an image of four crosses on a white background", Request("counting", (Wanted("cross"),) * 4)),
        (
            "a photo of a red ring and a blue cross",
            Request("attribution", (Wanted("ring", "red"), Wanted("cross", "blue"))),
        ),
        ("a red ring and a cross", Request("attribution", (Wanted("ring", "red"), Wanted("cross")))),
        ("a ring left of a red cross", Request("position", (Wanted("ring"), Wanted("cross", "red")), "left of")),
        ("a ring and a ring", Request("two", (Wanted("ring"), Wanted("ring")))),
        ("oil painting of two rings on the wall", None),
        ("painting of two rings on the wall", Request("counting", (Wanted("ring"), Wanted("ring")))),
    ],
)
def test_prompts_of_people_are_read_with_some_freedom(prompt, request_):
    if request_ is None:
        with pytest.raises(PromptError):
            parse_request(prompt)
    else:
        assert parse_request(prompt) == request_


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "a horse",
        "a circle a square",
        "one circle",
        "five circles",
        "three circle",
        "a red circle and",
        "a pink circle",
        "a circle near a square",
        "a circle and a square and a ring",
        "three red circles",
        "red circle",
        "a circle\0",
        "<b>a circle</b>",
        "a circle 🙂",
        "عايز دائرة",
        "a circle and a " * 500,
    ],
)
def test_a_prompt_that_cannot_be_read_teaches_the_grammar(prompt):
    with pytest.raises(PromptError) as refusal:
        parse_request(prompt)
    message = str(refusal.value)
    assert message.startswith(f"The Shapes world cannot read the prompt {prompt[:80]!r}. It reads 'a red circle', ")
    assert all(word in message for word in (*SHAPES, *COLORS, "'three squares'", "'a ring above a cross'"))
    assert len(message) < 500


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        request = parse_request(text)
    except PromptError:
        return
    assert request in all_requests(request.category) or request.category in ("two", "position", "attribution")


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_picture_of_a_request_holds_what_is_asked_for(category):
    rng = np.random.default_rng(0)
    requests = all_requests(category)
    for index in rng.permutation(len(requests))[:40]:
        request = requests[index]
        things = picture_of(request, rng)
        assert [thing.shape for thing in things] == [wanted.shape for wanted in request.wanted]
        for thing, wanted in zip(things, request.wanted, strict=True):
            assert thing.color == wanted.color or (wanted.color is None and thing.color in COLORS)
        if request.relation:
            first, second = things
            assert relation_between((first.x, first.y), (second.x, second.y)) == request.relation


def test_every_relation_is_asked_for():
    assert {request.relation for request in all_requests("position")} == set(RELATIONS)


@pytest.mark.parametrize(
    ("category", "count"),
    [("single", 6), ("two", 15), ("counting", 18), ("colors", 36), ("position", 60), ("attribution", 450)],
)
def test_requests_for_one_picture_in_another_order_are_one_scene(category, count):
    requests = all_requests(category)
    scenes = {request.scene() for request in requests}
    assert len(scenes) == count
    assert scenes <= set(requests)
    assert {scene.scene() for scene in scenes} == scenes


def test_a_picture_of_a_request_shows_its_scene():
    for seed, request in enumerate(all_requests("position")):
        scene = request.scene()
        places = {thing.shape: (thing.x, thing.y) for thing in picture_of(request, np.random.default_rng(seed))}
        first, second = (places[wanted.shape] for wanted in scene.wanted)
        assert relation_between(first, second) == scene.relation
