from math import hypot, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgpo_core.data.scenes import (
    BACKGROUND,
    COLORS,
    GAP,
    MAX_RADIUS,
    MIN_RADIUS,
    PICTURE_SIZE,
    REACH,
    SHAPES,
    Thing,
    coverage,
    draw,
    place,
    relation_between,
    signed_distance,
)

kinds = st.tuples(st.sampled_from(SHAPES), st.sampled_from(list(COLORS)))


@given(st.lists(kinds, min_size=1, max_size=4), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_things_lie_inside_the_picture_and_apart(wanted, seed):
    things = place(tuple(wanted), np.random.default_rng(seed))
    assert [(thing.shape, thing.color) for thing in things] == wanted
    for thing in things:
        reach = thing.radius * REACH[thing.shape]
        assert MIN_RADIUS <= thing.radius <= MAX_RADIUS
        assert reach + 1 <= min(thing.x, thing.y)
        assert max(thing.x, thing.y) <= PICTURE_SIZE - reach - 1
    for index, one in enumerate(things):
        for other in things[:index]:
            apart = hypot(one.x - other.x, one.y - other.y) - one.radius * REACH[one.shape]
            assert apart - other.radius * REACH[other.shape] > GAP


@given(st.sampled_from(["left of", "right of", "above", "below"]), kinds, kinds, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_relation_holds_clearly(relation, first, second, seed):
    one, other = place((first, second), np.random.default_rng(seed), relation)
    dx, dy = one.x - other.x, one.y - other.y
    along, across = (dx, dy) if relation in ("left of", "right of") else (dy, dx)
    assert abs(along) > 1.4 * abs(across)
    assert (along < 0) == (relation in ("left of", "above"))


@pytest.mark.parametrize(
    ("first", "relation"),
    [((0, 5), "left of"), ((9, 4), "right of"), ((5, 0), "above"), ((4, 9), "below"), ((0, 1), "left of")],
)
def test_the_larger_offset_names_the_relation(first, relation):
    assert relation_between(first, (5, 5)) == relation


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [MIN_RADIUS, 8.0, MAX_RADIUS])
def test_all_shapes_of_one_radius_have_one_area(shape, radius):
    assert coverage(shape, 32.0, 32.0, radius).sum() == pytest.approx(pi * radius**2, rel=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reach_is_the_farthest_point_and_the_place_is_the_centroid(shape):
    rows, columns = np.mgrid[-30:30:0.05, -30:30:0.05]
    inside = signed_distance(shape, columns, rows, 10.0) <= 0
    assert np.hypot(columns, rows)[inside].max() == pytest.approx(10 * REACH[shape], abs=0.08)
    assert columns[inside].mean() == pytest.approx(0, abs=0.05)
    assert rows[inside].mean() == pytest.approx(0, abs=0.05)


def test_an_unknown_shape_is_a_bug():
    with pytest.raises(ValueError, match="shape must be one of circle, square"):
        signed_distance("star", np.zeros(1), np.zeros(1), 1.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_drawn_thing_has_its_colour_inside_and_the_background_outside(shape):
    picture = draw((Thing(shape, "purple", 30.0, 30.0, 9.0),))
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.float32
    alpha = coverage(shape, 30.0, 30.0, 9.0)
    np.testing.assert_allclose(picture[alpha == 1], np.tile(COLORS["purple"], ((alpha == 1).sum(), 1)), atol=1e-6)
    np.testing.assert_allclose(picture[alpha == 0], np.tile(BACKGROUND, ((alpha == 0).sum(), 1)), atol=1e-6)
    assert ((alpha > 0) & (alpha < 1)).any()


def test_nothing_drawn_is_background():
    np.testing.assert_allclose(draw(()), np.tile(BACKGROUND, (64, 64, 1)), atol=1e-6)


def test_the_same_seed_places_the_same_things():
    wanted = (("ring", "red"), ("cross", "blue"))
    one, again, other = (place(wanted, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == again != other
