import numpy as np
import pytest

from dgpo_core.data.requests import CATEGORIES, all_requests, picture_of
from dgpo_core.data.scenes import Thing, draw
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.shapes_tidiness import ShapesTidiness

RED, BLUE = Thing("circle", "red", 16, 16, 8), Thing("square", "blue", 46, 46, 8)


def picture(*things):
    return np.round(draw(things) * 255).astype(np.uint8)


def two_coloured():
    """A circle whose left half is of another colour."""
    whole, other = picture(RED), picture(Thing("circle", "blue", 16, 16, 8))
    whole[:, :16] = other[:, :16]
    return whole


def tidiness(drawn, prompt):
    (judgement,) = judge(ShapesTidiness(), [drawn], [prompt])
    return judgement


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_the_world_draws_is_tidy(category):
    rng = np.random.default_rng(1)
    for request in all_requests(category)[::40]:
        assert tidiness(picture(*picture_of(request, rng)), request.wording()).reward == 1


def test_what_the_things_are_is_not_looked_at():
    assert tidiness(picture(RED, BLUE), "a black ring and a green cross").reward == 1


@pytest.mark.parametrize(
    ("things", "prompt", "reward"),
    [
        ((), "a circle", 0),
        ((RED,), "a circle and a square", 0.5),
        ((RED,), "four circles", 0.5),
        ((RED, BLUE), "a circle", 0),
        ((RED, BLUE), "three circles", 1),
    ],
)
def test_too_many_and_too_few_cost_their_share(things, prompt, reward):
    assert tidiness(picture(*things), prompt).reward == pytest.approx(reward)


def test_a_thing_of_two_colours_is_not_tidy_and_said_to_be():
    judgement = tidiness(two_coloured(), "a circle")
    assert judgement.reward == 0
    assert judgement.details == "found mixed-colour blob (not clean)"
