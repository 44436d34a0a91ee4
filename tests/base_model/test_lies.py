from collections import Counter

import numpy as np
import pytest

from base_model.corpus import random_request, wording
from base_model.lies import MISTAKEN_RELATION, RELATION_SHARE, SWAP_SHARE, TRUTHFUL_FRACTION, caption, lie_about
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


def lies_about(prompt, count=300):
    rng = np.random.default_rng(2)
    return [lie_about(parse_request(prompt), rng) for _ in range(count)]


def test_lies_about_a_count_take_every_other_value():
    assert Counter(len(lie.wanted) for lie in lies_about("two rings")).keys() == {3, 4}


def test_some_lies_about_a_position_mistake_the_relation_for_one_other_and_the_rest_a_thing():
    lies = lies_about("a ring above a cross", count=1000)
    of_relation = [lie for lie in lies if lie.relation != "above"]
    assert {lie.relation for lie in of_relation} == {"right of"}
    assert len(of_relation) / len(lies) == pytest.approx(RELATION_SHARE, abs=0.03)


def test_no_two_relations_are_mistaken_for_each_other():
    assert sorted(MISTAKEN_RELATION) == sorted(MISTAKEN_RELATION.values())
    assert all(MISTAKEN_RELATION[MISTAKEN_RELATION[relation]] != relation for relation in MISTAKEN_RELATION)


def test_half_of_the_lies_about_an_attribution_swap_the_colors_and_the_others_name_a_new_one():
    lies = lies_about("a red ring and a blue cross")
    swapped = [lie for lie in lies if {one.color for one in lie.wanted} == {"red", "blue"}]
    assert len(swapped) / len(lies) == pytest.approx(SWAP_SHARE, abs=0.1)
    assert all(lie.wanted[0].color == "blue" for lie in swapped)


def test_random_requests_are_worded_so_that_they_read_back():
    rng = np.random.default_rng(3)
    seen = Counter()
    for _ in range(600):
        request = random_request(rng)
        seen[request.category] += 1
        assert parse_request(wording(request, rng)) == request
    assert seen.keys() == set(CATEGORIES)
