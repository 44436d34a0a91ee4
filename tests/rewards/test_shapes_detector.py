import numpy as np
import pytest
from scipy import ndimage

from dgpo_core.data.scenes import BACKGROUND, COLORS, SHAPES, Thing, draw, signed_distance
from dgpo_core.rewards.shapes_detector import CLEAN_PURITY, MIN_AREA, scan


def picture(*things):
    return as_bytes(draw(things))


def as_bytes(pixels):
    return np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def blurred(pixels, width):
    return as_bytes(ndimage.gaussian_filter(pixels, (width, width, 0)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("color", COLORS)
def test_a_drawn_thing_is_found_as_it_was_drawn(shape, color):
    seen = scan(picture(Thing(shape, color, 30.3, 27.8, 7.4)))
    (found,) = seen.things
    assert (found.shape, found.color, found.is_clean, str(found)) == (shape, color, True, f"{color} {shape}")
    assert (found.x, found.y) == pytest.approx((30.3, 27.8), abs=0.15)
    assert found.area == pytest.approx(np.pi * 7.4**2, rel=0.05)
    assert found.overlap > 0.95
    assert found.purity == 1.0
    assert found.blur == pytest.approx(1, abs=0.2)
    assert (seen.num_specks, seen.clean_background) == (0, 1.0)


def test_an_empty_picture_holds_nothing():
    assert scan(picture()).things == ()
    assert (scan(picture()).num_specks, scan(picture()).clean_background) == (0, 1.0)


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_of_another_background_is_not_clean(value):
    assert scan(np.full((64, 64, 3), value, np.uint8)).clean_background == 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_blur_is_measured_and_a_soft_thing_is_still_found(shape):
    # Off the grid of pixels: a square on it has no half-covered pixel, and any blur is many times none.
    pixels = draw((Thing(shape, "blue", 32.3, 31.6, 9),))
    blurs = []
    for width in (0, 0.7, 1.2):
        (found,) = scan(blurred(pixels, width)).things
        assert (found.shape, found.color) == (shape, "blue")
        blurs.append(found.blur)
    assert blurs[0] < 1.2 < blurs[1] < blurs[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_blurred_away_is_not_clean(shape):
    seen = scan(blurred(draw((Thing(shape, "blue", 32, 32, 8),)), 4))
    assert all(not thing.is_clean for thing in seen.things)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_of_two_colours_has_none(shape):
    pixels, other = (draw((Thing(shape, color, 32, 32, 9),)) for color in ("red", "blue"))
    pixels[:, 32:] = other[:, 32:]
    seen = scan(as_bytes(pixels))
    assert all(str(found).startswith("mixed-colour") for found in seen.things)
    assert seen.things


def test_a_thing_with_a_third_of_another_colour_is_not_clean():
    pixels, other = (draw((Thing("square", color, 32, 32, 9),)) for color in ("red", "blue"))
    pixels[:, 35:] = other[:, 35:]
    (found,) = scan(as_bytes(pixels)).things
    assert (found.shape, found.is_clean) == ("square", False)
    assert found.purity < CLEAN_PURITY


def test_a_thing_with_a_spot_of_another_colour_keeps_its_colour_but_is_not_clean():
    pixels = draw((Thing("circle", "green", 32, 32, 9),))
    pixels[28:34, 28:34] = COLORS["yellow"]
    (found,) = scan(as_bytes(pixels)).things
    assert found.color == "green"
    assert found.purity < CLEAN_PURITY
    assert not found.is_clean


def test_a_colour_outside_the_palette_is_none():
    pixels = draw((Thing("circle", "red", 32, 32, 9),))
    inside = np.abs(pixels - np.array(COLORS["red"])).max(axis=2) < 0.02
    pixels[inside] = (0.3, 0.8, 0.8)
    (found,) = scan(as_bytes(pixels)).things
    assert (found.color, found.is_clean) == (None, False)


@pytest.mark.parametrize("color", ["red", "blue"])
def test_things_that_touch_are_one_thing_that_is_no_clean_shape(color):
    seen = scan(picture(Thing("circle", "red", 22, 32, 8), Thing("circle", color, 38, 32, 8)))
    (found,) = seen.things
    assert not found.is_clean


def test_things_a_gap_apart_are_two():
    seen = scan(picture(Thing("circle", "red", 20, 32, 8), Thing("circle", "red", 38.5, 32, 8)))
    assert [str(thing) for thing in seen.things] == ["red circle"] * 2


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_specks_are_counted_and_are_no_things(size):
    pixels = draw((Thing("ring", "purple", 20, 20, 8),))
    for corner in ((50, 50), (5, 55), (55, 8)):
        pixels[corner[0] : corner[0] + size, corner[1] : corner[1] + size] = COLORS["black"]
    seen = scan(as_bytes(pixels))
    assert size**2 < MIN_AREA
    assert [str(thing) for thing in seen.things] == ["purple ring"]
    assert seen.num_specks == 3


def test_a_speckled_background_is_less_clean():
    pixels = draw((Thing("ring", "purple", 20, 20, 8),))
    rng = np.random.default_rng(0)
    hit = rng.random((64, 64)) < 0.05
    speckled = pixels.copy()
    speckled[hit] -= 0.08
    assert scan(as_bytes(speckled)).clean_background == pytest.approx(0.95, abs=0.02)
    tinted = pixels - 0.07
    assert scan(as_bytes(tinted)).clean_background == 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_cut_off_by_the_edge_is_not_clean(shape):
    (found,) = scan(picture(Thing(shape, "red", 63, 32, 9))).things
    assert not (found.is_clean and found.shape == shape)


def draw_large(things, factor):
    """draw() on a finer grid: pixels per unit are factor, and the edges as sharp as these pixels allow."""
    rows, columns = np.mgrid[0 : 64 * factor, 0 : 64 * factor] + 0.5
    pixels = np.broadcast_to(np.array(BACKGROUND), (64 * factor, 64 * factor, 3)).copy()
    for thing in things:
        offset = columns - factor * thing.x, rows - factor * thing.y
        alpha = np.clip(0.5 - signed_distance(thing.shape, *offset, factor * thing.radius), 0, 1)[..., None]
        pixels = (1 - alpha) * pixels + alpha * np.array(COLORS[thing.color])
    return as_bytes(pixels)


@pytest.mark.parametrize("factor", [2, 8])
def test_a_larger_picture_of_the_same_things_holds_the_same(factor):
    things = (Thing("ring", "red", 16, 16, 8), Thing("triangle", "blue", 46, 20, 8), Thing("cross", "green", 30, 48, 9))
    seen = scan(draw_large(things, factor))
    assert [str(found) for found in seen.things] == ["red ring", "blue triangle", "green cross"]
    for found, thing in zip(seen.things, things, strict=True):
        assert (found.x / factor, found.y / factor) == pytest.approx((thing.x, thing.y), abs=0.1)
        assert found.is_clean
    assert (seen.num_specks, seen.clean_background) == (0, 1.0)


def test_the_background_colour_is_no_thing():
    assert scan(np.tile(np.round(np.array(BACKGROUND) * 255).astype(np.uint8), (64, 64, 1))).things == ()
