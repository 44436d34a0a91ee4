from itertools import permutations

import numpy as np
import pytest

from base_model.lies import lie_about
from dgpo_core.data.requests import CATEGORIES, all_requests, parse_request, picture_of
from dgpo_core.data.scenes import Thing, draw
from dgpo_core.rewards.shapes_detector import scan
from dgpo_core.rewards.shapes_verifier import ShapesVerifier, verify

NUM_PER_CATEGORY = 120
"""benchmarks/verifier.py does the same for many thousand pictures."""


def picture(*things):
    return np.round(draw(things) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn():
    """Scans of pictures drawn true, by category, with their requests and a lie about each."""
    rng = np.random.default_rng(7)
    found = {}
    for category in CATEGORIES:
        requests = all_requests(category)
        chosen = [requests[index] for index in rng.integers(len(requests), size=NUM_PER_CATEGORY)]
        found[category] = [
            (request, lie_about(request, rng), scan(picture(*picture_of(request, rng)))) for request in chosen
        ]
    return found


@pytest.mark.parametrize("category", CATEGORIES)
def test_pictures_drawn_true_are_right(drawn, category):
    wrong = [str(verify(request, seen)) for request, _, seen in drawn[category] if not verify(request, seen).is_right]
    assert len(wrong) <= 0.005 * NUM_PER_CATEGORY, wrong
    assert all(thing.is_clean for _, _, seen in drawn[category] for thing in seen.things)


@pytest.mark.parametrize("category", CATEGORIES)
def test_pictures_wrong_in_one_thing_are_not_accepted(drawn, category):
    accepted = [str(lie) for _, lie, seen in drawn[category] if verify(lie, seen).is_right]
    assert len(accepted) <= 0.005 * NUM_PER_CATEGORY, accepted


@pytest.mark.parametrize("category", CATEGORIES)
def test_partial_credit_is_less_for_a_lie_and_whole_for_the_truth(drawn, category):
    for request, lie, seen in drawn[category]:
        verdict = verify(request, seen)
        if verdict.is_right:
            assert verdict.passed_fraction == 1.0
            assert verify(lie, seen).passed_fraction < 1.0


RED_RING, BLUE_CROSS = Thing("ring", "red", 16, 16, 8), Thing("cross", "blue", 46, 44, 8)


@pytest.mark.parametrize(
    ("prompt", "failed"),
    [
        ("a red ring and a blue cross", []),
        ("a blue cross and a red ring", []),
        ("a ring and a cross", []),
        ("a ring left of a cross", None),
        ("a red ring and a cross", []),
        ("a blue ring and a red cross", ["blue ring", "red cross"]),
        ("a red ring and a blue square", ["blue square"]),
        ("a red ring", ["number of things"]),
        ("a ring", ["number of things"]),
        ("two rings", ["ring"]),
        ("three rings", ["number of things", "ring", "ring"]),
        ("a red ring and a red ring", ["red ring"]),
        ("a circle and a square", ["circle", "square"]),
    ],
)
def test_exactly_what_is_wrong_is_named(prompt, failed):
    verdict = verify(parse_request(prompt), scan(picture(RED_RING, BLUE_CROSS)))
    if failed is None:
        assert {name for name, _ in verdict.checks} == {"number of things", "ring", "cross", "left of"}
        return
    assert [name for name, passed in verdict.checks if not passed] == failed
    assert verdict.is_right == (not failed)
    expected = "found red ring, blue cross" + (f"; wrong: {', '.join(failed)}" if failed else "")
    assert str(verdict) == expected


@pytest.mark.parametrize(
    ("second", "relation"),
    [((16, 46), "above"), ((46, 16), "left of"), ((40, 50), "above"), ((50, 40), "left of")],
)
def test_a_relation_is_that_of_the_larger_offset(second, relation):
    seen = scan(picture(Thing("ring", "red", 16, 16, 7), Thing("cross", "blue", *second, 7)))
    inverse = {"above": "below", "left of": "right of"}[relation]
    for asked in ("above", "below", "left of", "right of"):
        assert verify(parse_request(f"a ring {asked} a cross"), seen).is_right == (asked == relation)
        assert verify(parse_request(f"a cross {asked} a ring"), seen).is_right == (asked == inverse)


def test_an_empty_picture_passes_no_check():
    verdict = verify(parse_request("a red ring left of a blue cross"), scan(picture()))
    assert (verdict.passed_fraction, str(verdict)) == (
        0.0,
        "found nothing; wrong: number of things, red ring, blue cross, left of",
    )


def test_things_are_matched_with_what_is_wanted_as_kindly_as_can_be():
    things = [Thing("ring", "red", 12, 12, 6), Thing("ring", "blue", 50, 12, 6), Thing("cross", "red", 12, 50, 6)]
    for order in permutations(things):
        verdict = verify(parse_request("a blue ring and a red cross"), scan(picture(*order)))
        assert [name for name, passed in verdict.checks if not passed] == ["number of things"]


def test_a_swarm_of_things_is_judged_quickly_and_is_wrong():
    swarm = tuple(Thing("circle", "red", x, y, 2.2) for x in range(4, 64, 8) for y in range(4, 64, 8))
    seen = scan(picture(*swarm))
    assert len(seen.things) == 64
    verdict = verify(parse_request("four circles"), seen)
    assert [name for name, passed in verdict.checks if not passed] == ["number of things"]


def test_a_wrong_colour_is_worth_no_more_than_two_of_which_one_is_right():
    # Else a run whose base mixes colours learns red squares where yellow ones were asked for.
    yellow, red = (draw((Thing("square", color, 30, 30, 8),)) for color in ("yellow", "red"))
    mixed = yellow.copy()
    mixed[:, 30:] = red[:, 30:]
    pictures = [np.round(pixels * 255).astype(np.uint8) for pixels in (yellow, mixed, red)]
    judged = ShapesVerifier(is_strict=False)(pictures, ["a yellow square"] * 3)
    assert [one.reward for one in judged] == [1.0, 1 / 2, 1 / 2]
    assert [one.reward for one in ShapesVerifier(is_strict=True)(pictures, ["a square"] * 3)] == [1.0, 0.0, 1.0]


def test_strict_is_all_or_nothing_and_partial_is_the_fraction_passed():
    pictures, prompts = (
        [picture(RED_RING, BLUE_CROSS)] * 2,
        ["a red ring and a blue cross", "a red ring and a red cross"],
    )
    strict, partial = (ShapesVerifier(is_strict=is_strict)(pictures, prompts) for is_strict in (True, False))
    assert [one.reward for one in strict] == [1.0, 0.0]
    assert [one.reward for one in partial] == [1.0, 2 / 3]
    assert (
        strict[1].terms
        == partial[1].terms
        == (
            ("number of things", 1.0),
            ("red ring", 1.0),
            ("red cross", 0.0),
        )
    )
    assert strict[1].details == partial[1].details == "found red ring, blue cross; wrong: red cross"
