from collections import Counter

import numpy as np
import pytest

from base_model.corpus import random_request
from base_model.lies import (
    MISTAKEN_RELATION,
    RELATION_SHARE,
    SWAP_SHARE,
    TRUTHFUL_FRACTION,
    caption,
    lie_about,
    mistake_about,
)
from dgpo_core.data.requests import CATEGORIES, all_requests, parse_request, picture_of
from dgpo_core.data.scenes import relation_between


def is_true_of(request, things):
    """Whether the request fits the things as they were placed; a plain reading, without the verifier."""
    found = [(thing.shape, thing.color) for thing in things]
    if len(found) != len(request.wanted):
        return False
    orders = [things, things[::-1]] if len(things) == 2 else [things]
    for order in orders:
        fits = all(
            thing.shape == wanted.shape and wanted.color in (None, thing.color)
            for thing, wanted in zip(order, request.wanted, strict=True)
        )
        first, second = order[0], order[-1]
        relation = relation_between((first.x, first.y), (second.x, second.y))
        if fits and request.relation in (None, relation):
            return True
    return False


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_lie_is_of_the_same_category_and_never_true(category):
    rng = np.random.default_rng(0)
    requests = all_requests(category)
    for index in rng.integers(len(requests), size=150):
        request = requests[index]
        things = picture_of(request, rng)
        assert is_true_of(request, things)
        lie = lie_about(request, rng)
        assert lie.category == category
        assert lie in requests
        assert not is_true_of(lie, things)


@pytest.mark.parametrize("category", CATEGORIES)
def test_captions_are_true_in_the_measure_that_is_set(category):
    rng = np.random.default_rng(1)
    request = all_requests(category)[3]
    true = sum(caption(request, TRUTHFUL_FRACTION, rng) == request for _ in range(2000))
    assert true / 2000 == pytest.approx(TRUTHFUL_FRACTION[category], abs=0.04)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_mistake_is_a_lie_of_the_same_category(category):
    rng = np.random.default_rng(4)
    requests = all_requests(category)
    for index in rng.integers(len(requests), size=150):
        things = picture_of(requests[index], rng)
        mistake = mistake_about(requests[index], rng)
        assert mistake in requests
        assert not is_true_of(mistake, things)


@pytest.mark.parametrize(
    ("prompt", "mistakes"),
    [
        ("a circle", {"a square"}),
        ("three rings", {"four rings"}),
        ("four rings", {"two rings"}),
        ("a black cross", {"a red cross"}),
        ("a circle and a square", {"a triangle and a square", "a circle and a triangle"}),
        ("a ring above a cross", {"a ring right of a cross", "a circle above a cross", "a ring above a circle"}),
        (
            "a red ring and a blue cross",
            {"a blue ring and a red cross", "a green ring and a blue cross", "a red ring and a yellow cross"},
        ),
    ],
)
def test_a_prompt_is_mistaken_for_few_others(prompt, mistakes):
    rng = np.random.default_rng(2)
    assert {mistake_about(parse_request(prompt), rng).wording() for _ in range(60)} == mistakes


def mistakes_about(prompt, count=600):
    rng = np.random.default_rng(2)
    return [mistake_about(parse_request(prompt), rng) for _ in range(count)]


def test_relations_are_mistaken_and_colors_swapped_in_the_measure_that_is_set():
    of_relation = [one for one in mistakes_about("a ring above a cross") if one.relation != "above"]
    assert len(of_relation) / 600 == pytest.approx(RELATION_SHARE, abs=0.07)
    swapped = [one for one in mistakes_about("a red ring and a blue cross") if one.wanted[0].color == "blue"]
    assert len(swapped) / 600 == pytest.approx(SWAP_SHARE, abs=0.07)


def test_lies_about_a_count_take_every_other_value():
    rng = np.random.default_rng(2)
    lies = [lie_about(parse_request("two rings"), rng) for _ in range(40)]
    assert {len(lie.wanted) for lie in lies} == {3, 4}


def test_lies_about_a_position_change_the_relation_or_a_thing():
    rng = np.random.default_rng(2)
    request = parse_request("a ring above a cross")
    lies = [lie_about(request, rng) for _ in range(400)]
    of_relation = [lie for lie in lies if lie.wanted == request.wanted]
    assert {lie.relation for lie in of_relation} == {"left of", "right of", "below"}
    assert len(of_relation) / len(lies) == pytest.approx(RELATION_SHARE, abs=0.1)


def test_no_two_relations_are_mistaken_for_each_other():
    assert sorted(MISTAKEN_RELATION) == sorted(MISTAKEN_RELATION.values())
    assert all(MISTAKEN_RELATION[MISTAKEN_RELATION[relation]] != relation for relation in MISTAKEN_RELATION)


def test_random_requests_are_of_all_categories_and_read_back():
    rng = np.random.default_rng(3)
    seen = Counter()
    for _ in range(600):
        request = random_request(rng)
        seen[request.category] += 1
        assert parse_request(request.wording()) == request
    assert seen.keys() == set(CATEGORIES)
