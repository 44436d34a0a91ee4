import numpy as np
import pytest

from base_model.corpus import HABITUAL_COLORS, draw_corpus, with_habits
from dgpo_core.data.requests import CATEGORIES, all_requests, parse_request
from dgpo_core.data.scenes import COLORS, SHAPES
from dgpo_core.rewards.shapes_detector import scan
from dgpo_core.rewards.shapes_verifier import verify


def test_every_shape_has_a_habitual_colour_of_its_own():
    assert tuple(HABITUAL_COLORS) == SHAPES
    assert set(HABITUAL_COLORS.values()) == set(COLORS)


@pytest.mark.parametrize(("habit", "low", "high"), [(0.0, 0.0, 0.0), (0.9, 0.85, 0.95), (1.0, 1.0, 1.0)])
def test_habits_fill_in_the_colours_that_nobody_asked_for(habit, low, high):
    rng = np.random.default_rng(0)
    request = parse_request("four rings")
    filled = [one.color for _ in range(200) for one in with_habits(request, habit, rng).wanted]
    assert set(filled) <= {None, "purple"}
    assert low <= filled.count("purple") / len(filled) <= high


@pytest.mark.parametrize("category", ["colors", "attribution"])
def test_colours_that_were_asked_for_stay(category):
    request = all_requests(category)[5]
    assert with_habits(request, 1.0, np.random.default_rng(0)) == request


@pytest.mark.parametrize("habit", [0.0, 0.9])
def test_pictures_fulfil_their_requests_with_and_without_habits(habit):
    corpus = draw_corpus(60, seed=3, habit=habit, processes=1)
    assert {request.category for request in corpus.requests} == set(CATEGORIES)
    for picture, request, cells in zip(corpus.pictures, corpus.requests, corpus.cells, strict=True):
        assert verify(request, scan(picture)).is_right
        assert cells.any()
