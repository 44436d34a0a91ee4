import numpy as np
import pytest
import torch
from scipy import ndimage

from dgpo_core.data.prompts import load_prompts
from dgpo_core.data.requests import parse_request, picture_of
from dgpo_core.data.scenes import COLORS, draw
from dgpo_core.rewards import shapes_quality
from dgpo_core.rewards.shapes_detector import scan
from dgpo_core.rewards.shapes_quality import (
    ShapesQuality,
    background_cleanliness,
    clean_fraction,
    diversity,
    edge_sharpness,
    frechet_distance,
    palette_purity,
)

PROMPTS = load_prompts("shapes-heldout")[:24]


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return [draw(picture_of(parse_request(prompt), rng)) for prompt in PROMPTS]


def as_bytes(pixels):
    return [np.round(np.clip(one, 0, 1) * 255).astype(np.uint8) for one in pixels]


def blur(pixels):
    return [ndimage.gaussian_filter(one, (0.9, 0.9, 0)) for one in pixels]


def recolour(pixels):
    """Half of each picture with red and blue swapped: things in between have two colours."""
    changed = [one.copy() for one in pixels]
    for one in changed:
        one[:, 24:40] = one[:, 24:40, ::-1]
    return changed


def speckle(pixels):
    rng = np.random.default_rng(1)
    changed = [one.copy() for one in pixels]
    for one in changed:
        one[rng.random((64, 64)) < 0.02] = COLORS["black"]
    return changed


def tint(pixels):
    return [one - 0.07 for one in pixels]


NUMBERS = {
    "clean things": clean_fraction,
    "edge sharpness": edge_sharpness,
    "palette purity": palette_purity,
    "clean background": background_cleanliness,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_pictures_drawn_true_are_of_the_best_quality(pixels, name):
    assert NUMBERS[name]([scan(one) for one in as_bytes(pixels)]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("spoil", "name", "fall"),
    [
        (blur, "edge sharpness", 0.2),
        (recolour, "palette purity", 0.05),
        (recolour, "clean things", 0.2),
        (speckle, "clean things", 0.4),
        (tint, "clean background", 0.9),
    ],
)
def test_a_number_falls_when_what_it_measures_is_spoilt(pixels, spoil, name, fall):
    before, after = (NUMBERS[name]([scan(one) for one in as_bytes(side)]) for side in (pixels, spoil(pixels)))
    assert after < before - fall


@pytest.mark.parametrize("name", NUMBERS)
def test_pictures_of_nothing_have_defined_numbers(name):
    empty = [scan(one) for one in as_bytes([draw(())] * 2)]
    assert NUMBERS[name](empty) == (1.0 if name == "clean background" else 0.0)
    assert NUMBERS[name]([]) == 0.0


def test_identical_pictures_are_not_diverse_and_different_ones_are(pixels):
    pictures = as_bytes(pixels)
    assert diversity([pictures[0]] * 24, PROMPTS) == 0.0
    apart = diversity(pictures, PROMPTS)
    halfway = diversity(as_bytes([(one + pixels[0]) / 2 for one in pixels]), PROMPTS)
    assert 0 < halfway < apart < 1
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert diversity([black, white, black], ["a ring"] * 3) == 1.0


def test_diversity_compares_within_a_category_only():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert diversity([black, white, black, white], ["a ring", "two rings"] * 2) == 0.0
    assert diversity([black], ["a ring"]) == 0.0


def features(count=200, shift=0.0, spread=1.0, seed=0):
    return shift + spread * torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_the_frechet_distance_of_a_set_to_itself_is_zero():
    assert frechet_distance(features(), features()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_the_frechet_distance_of_a_shift_is_its_square_summed(shift):
    assert frechet_distance(features(), features(shift=shift)) == pytest.approx(6 * shift**2, rel=1e-3)


def test_the_frechet_distance_of_gaussians_is_the_known_one():
    # For equal means and covariances a and b times one: the number of dimensions times (sqrt a - sqrt b) squared.
    one = features()
    assert frechet_distance(one, one * 3) == pytest.approx(
        float(one.mean(0).mul(2).square().sum() + 4 * one.var(0).sum()), rel=1e-3
    )


def test_the_frechet_distance_grows_with_the_shift_and_is_symmetric():
    distances = [frechet_distance(features(seed=1), features(shift=shift)) for shift in (0, 0.3, 0.6, 0.9)]
    assert distances == sorted(distances)
    other = frechet_distance(features(shift=0.9), features(seed=1))
    assert other == pytest.approx(distances[-1], rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_sets_smaller_than_their_number_of_features_still_have_a_distance(count):
    assert np.isfinite(frechet_distance(features(count), features(count, shift=1.0)))
    assert frechet_distance(features(count), features(count)) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize(("left", "right"), [(1, 5), (5, 1), (0, 5)])
def test_a_set_of_less_than_two_has_no_distance(left, right):
    with pytest.raises(ValueError, match=f"needs two pictures on each side, got {left} and {right}"):
        frechet_distance(features(left), features(right))


def mean_colours(pictures):
    return torch.tensor(np.stack([picture.reshape(4, -1, 3).mean(axis=1).flatten() for picture in pictures]) / 255)


def test_all_numbers_come_by_name_and_true_pictures_are_drawn_once(pixels, monkeypatch):
    monkeypatch.setattr(shapes_quality, "NUM_TRUE_PICTURES", 60)
    asked = []

    def watched(pictures):
        asked.append(len(pictures))
        return mean_colours(pictures)

    quality, pictures = ShapesQuality(watched), as_bytes(pixels)
    good = quality(pictures, PROMPTS, mean_colours(pictures))
    bad = quality(as_bytes(tint(pixels)), PROMPTS, mean_colours(as_bytes(tint(pixels))))
    assert list(good) == [*NUMBERS, "diversity", "Frechet distance"]
    assert good["Frechet distance"] < bad["Frechet distance"]
    assert asked == [72]
    assert all(np.isfinite(value) for value in good.values())


def test_a_single_picture_has_no_frechet_distance(pixels):
    picture = as_bytes(pixels)[:1]
    found = ShapesQuality(mean_colours)(picture, PROMPTS[:1], mean_colours(picture))
    assert list(found) == [*NUMBERS, "diversity"]
