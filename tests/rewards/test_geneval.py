"""GenEval: its checks with known detections, and its models in tiny."""

import numpy as np
import pytest
from tiny_models import clip_folder, mask2former_folder

from dgpo_core.data.geneval_requests import read_request
from dgpo_core.errors import PromptError, RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.geneval import Detection, GenEvalReward, directions, verify
from dgpo_core.rewards.geneval_models import cut_out
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies

BLANK = np.zeros((64, 64, 3), np.uint8)
COLORS = {"red": (220, 20, 20), "blue": (20, 40, 220), "green": (20, 160, 40)}


def found(name, place=0, confidence=0.95):
    """An object of 20 pixels, its left edge at place."""
    return Detection(name, confidence, (place, 20.0, place + 20.0, 40.0))


def verdict(note, detections, colors=()):
    known = dict(zip(map(id, detections), colors, strict=False))
    return verify(read_request(note, "p"), detections, lambda one: known.get(id(one), "white"))


def include(*demands, tag="", exclude=()):
    return {"tag": tag, "include": list(demands), "exclude": list(exclude)}


DOG, CAT = {"class": "dog", "count": 1}, {"class": "cat", "count": 1}


@pytest.mark.parametrize(
    ("note", "detections", "strict", "loose"),
    [
        (include(DOG), [found("dog")], 1, 1),
        (include(DOG), [found("cat")], 0, 0),
        (include(DOG), [found("dog", confidence=0.29)], 0, 0),
        (include(DOG), [found("dog"), found("dog", 30)], 1, 1),
        (include(DOG, CAT), [found("dog"), found("cat", 30)], 1, 1),
        (include(DOG, CAT), [found("dog"), found("dog", 30)], 0, 0.5),
    ],
)
def test_single_and_two_objects(note, detections, strict, loose):
    judged = verdict(note, detections)
    assert (judged.strict, judged.loose) == (strict, loose)


@pytest.mark.parametrize(
    ("count", "confidence", "strict", "loose"),
    [(3, 0.95, 1, 1), (2, 0.95, 0, (2 / 3 + 1) / 2), (4, 0.95, 0, 0.5), (3, 0.85, 0, 0.5), (0, 0.95, 0, 0.5)],
)
def test_counting_takes_sure_objects_only_and_too_many_is_wrong(count, confidence, strict, loose):
    note = include({"class": "dog", "count": 3}, tag="counting", exclude=[{"class": "dog", "count": 4}])
    judged = verdict(note, [found("dog", 5 * index, confidence) for index in range(count)])
    assert (judged.strict, judged.loose) == (strict, pytest.approx(loose))


@pytest.mark.parametrize(
    ("colors", "strict", "loose"),
    [(("red",), 1, 1), (("blue",), 0, 0.5), (("blue", "red"), 1, 1)],
)
def test_colors_are_of_the_object_itself(colors, strict, loose):
    note = include({"class": "dog", "count": 1, "color": "red"}, tag="colors")
    judged = verdict(note, [found("dog", 30 * index) for index in range(len(colors))], colors)
    assert (judged.strict, judged.loose) == (strict, loose)


def test_color_attribution_tells_swapped_colours():
    note = include(DOG | {"color": "red"}, CAT | {"color": "blue"}, tag="color_attr")
    objects = [found("dog"), found("cat", 30)]
    assert verdict(note, objects, ("red", "blue")).strict == 1
    swapped = verdict(note, objects, ("blue", "red"))
    assert (swapped.strict, swapped.loose) == (0, 0.5)
    assert [name for name, value in swapped.checks if not value] == ["red dog", "blue cat"]


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ((0, 0, 20, 20), (100, 0, 120, 20), {"left of"}),
        ((100, 0, 120, 20), (0, 0, 20, 20), {"right of"}),
        ((0, 0, 20, 20), (0, 100, 20, 120), {"above"}),
        ((0, 100, 20, 120), (0, 0, 20, 20), {"below"}),
        ((0, 0, 20, 20), (80, 80, 100, 100), {"left of", "above"}),
        ((0, 0, 20, 20), (3, 0, 23, 20), set()),
        ((0, 0, 20, 20), (0, 0, 20, 20), set()),
        ((0, 0, 20, 20), (100, 10, 120, 30), {"left of"}),
        ((0, 0, 20, 20), (6, 0, 26, 20), set()),  # 2 of the 6 between the centres are left
        ((0, 0, 20, 20), (9, 0, 29, 20), {"left of"}),  # 5 of 9
    ],
)
def test_directions_of_known_boxes(one, other, named):
    assert directions(one, other) == named


@pytest.mark.parametrize(("dog", "cat", "strict"), [(0, 60, 1), (60, 0, 0), (0, 2, 0)])
def test_position(dog, cat, strict):
    note = include(CAT, DOG | {"position": ["left of", 0]}, tag="position")
    assert verdict(note, [found("dog", dog), found("cat", cat)]).strict == strict
    assert verdict(note, [found("dog", dog)]).strict == 0


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ({}, "GenEval has no include list beside the prompt 'p'"),
        ({"include": []}, "has no include list"),
        ({"include": ["dog"]}, "it names no class"),
        ({"include": [{"class": "dog", "count": 0}]}, "count must be 1 to 16"),
        ({"include": [{"class": "dog", "count": True}]}, "count must be 1 to 16"),
        ({"include": [{"class": "dog", "color": "mauve"}]}, "color must be one of red"),
        ({"include": [{"class": "dog", "position": ["left of", 1]}]}, "position must be"),
        ({"include": [{"class": "dog", "position": "left"}]}, "position must be"),
    ],
)
def test_metadata_that_is_not_of_genevals_form_is_refused(note, message):
    with pytest.raises(PromptError, match=message):
        read_request(note, "p")


def squares_detector(pictures):
    """Finds the coloured squares that squares() paints; each is a dog."""
    return [
        [
            Detection("dog", 0.99, (left, 4.0, left + 10.0, 14.0))
            for left in range(0, 64, 16)
            if picture[4:14, left : left + 10].any()
        ]
        for picture in pictures
    ]


def named(picture, detection):
    mean = cut_out(picture, detection).mean(axis=(0, 1))
    return min(COLORS, key=lambda name: np.abs(mean - COLORS[name]).sum())


def squares(*names):
    picture = BLANK.copy()
    for index, name in enumerate(names):
        picture[4:14, 16 * index : 16 * index + 10] = COLORS[name]
    return picture


def test_the_reward_tells_drawn_pictures_apart_and_says_what_is_wrong():
    notes = {
        "two dogs": include({"class": "dog", "count": 2}, tag="counting", exclude=[{"class": "dog", "count": 3}]),
        "a red dog": include(DOG | {"color": "red"}),
    }
    strict, loose = (
        GenEvalReward(Supplies(notes=notes), squares_detector, named, is_strict=is_strict)
        for is_strict in (True, False)
    )
    pictures = [squares("red", "blue"), squares("red"), squares(*["green"] * 3), squares("red"), squares("green")]
    prompts = ["two dogs"] * 3 + ["a red dog"] * 2
    assert [one.reward for one in judge(strict, pictures, prompts)] == [1, 0, 0, 1, 0]
    judged = judge(loose, pictures, prompts)
    assert [one.reward for one in judged] == [1, 0.75, 0.5, 1, 0.5]
    assert judged[2].details == "found 3 dog; wrong: fewer than 3 dog"
    with pytest.raises(PromptError, match="beside the prompt 'a cat'"):
        loose.check_prompts(["two dogs", "a cat"])


def test_the_self_test_asks_for_a_stop_sign():
    def sees_red(pictures):
        return [
            [Detection("stop sign", 0.9, (0, 0, 9, 9))] if (p[..., 0] > p[..., 1] + 60).any() else [] for p in pictures
        ]

    assert self_test(GenEvalReward(Supplies(), sees_red, named, is_strict=True)).rewards == ((1.0, 0.0),)
    blind = GenEvalReward(Supplies(), lambda pictures: [[] for _ in pictures], named, is_strict=True)
    assert not self_test(blind).passed


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    mask2former_folder(root / REWARD_FACTS["geneval"].weights, ["dog", "mouse", "stop sign"])
    clip_folder(root / REWARD_FACTS["clipscore"].weights)
    notes = {"p": include(DOG | {"color": "red"}, {"class": "computer mouse", "count": 1})}
    return Supplies(models_folder=str(root), notes=notes)


def test_the_models_load_and_their_answers_reach_the_checks(tiny, monkeypatch):
    from dgpo_core.rewards import geneval_models

    monkeypatch.setattr(geneval_models, "CONFIDENCE", 0.0)
    pictures = [np.random.default_rng(seed).integers(0, 256, (50, 70, 3), dtype=np.uint8) for seed in range(3)]
    detector = geneval_models.Mask2FormerDetector(tiny.place(REWARD_FACTS["geneval"].weights), tiny)
    colors = geneval_models.ClipColors(tiny.place(REWARD_FACTS["clipscore"].weights), tiny)
    per_picture = detector.detect(pictures)
    assert len(per_picture) == 3
    everything = [one for of_picture in per_picture for one in of_picture]
    assert everything, "with no confidence asked for, random weights find something"
    for picture, objects in zip(pictures, per_picture, strict=True):
        for one in objects:
            assert one.object_class in ("dog", "computer mouse", "stop sign")
            left, top, right, bottom = one.box
            assert 0 <= left < right <= 70
            assert 0 <= top < bottom <= 50
            assert one.mask.shape == (50, 70)
            assert colors.name_color(picture, one) in geneval_models.COLOR_NAMES


def test_a_reward_of_the_catalogue_judges_with_them(tiny):
    for name in ("geneval", "geneval_strict"):
        judged = judge(new_reward(name, tiny), [squares("red"), BLANK], ["p", "p"])
        assert all(0 <= one.reward <= 1 for one in judged)
        assert [check for check, _ in judged[0].terms] == ["1 dog", "red dog", "1 computer mouse"]


def test_a_missing_detector_is_said_with_its_place(tmp_path):
    with pytest.raises(RewardError, match="models_folder holds no facebook/mask2former"):
        new_reward("geneval", Supplies(models_folder=str(tmp_path)))
