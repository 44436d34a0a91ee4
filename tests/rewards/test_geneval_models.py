"""GenEval's eyes: what the detector answers becomes objects, a CLIP that was taught colours names them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from documented_range import keeps_to_its_range
from PIL import Image
from tiny_models import clip_folder, image_processor, mask2former_folder, tokenizer_files
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

from dgpo_core.data.geneval_requests import COLOR_NAMES
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.geneval import Detection
from dgpo_core.rewards.geneval_models import GREY, ClipColors, Mask2FormerDetector, cut_out, objects_in
from dgpo_core.rewards.supplies import Supplies

SHADES = {
    "red": (220, 20, 20),
    "orange": (250, 140, 10),
    "yellow": (245, 230, 40),
    "green": (20, 160, 40),
    "blue": (20, 40, 220),
    "purple": (130, 20, 160),
    "pink": (250, 150, 190),
    "brown": (110, 60, 20),
    "black": (15, 15, 15),
    "white": (240, 240, 240),
}
WORDINGS = ("a photo of a {} dog", "a photo of a {}-colored dog", "a photo of a {} object")
"""GenEval's, written out."""
DETECTOR, CLIP = REWARD_FACTS["geneval"].weights, REWARD_FACTS["clipscore"].weights
BOXES = {"dog": (4, 14), "mouse": (4, 60)}
"""First row and row after the last of what is drawn."""


def test_an_answer_becomes_objects_with_the_class_the_box_and_the_mask_of_each():
    masks = np.zeros((3, 6, 10), bool)
    masks[0, 1:3, 2:7], masks[2, 0:5, 8] = True, True
    infos = [{"label_id": label, "score": score} for label, score in ((7, 0.9), (3, 0.8), (3, 0.4))]
    answer = {"segmentation": torch.as_tensor(masks).float(), "segments_info": infos}
    found = objects_in(answer, {3: "dog", 7: "mouse"})
    assert [(one.object_class, one.confidence, one.box) for one in found] == [
        ("computer mouse", 0.9, (2, 1, 7, 3)),
        ("dog", 0.4, (8, 0, 9, 5)),
    ]
    assert np.array_equal([one.mask for one in found], masks[[0, 2]])


@pytest.mark.parametrize("maps", [None, torch.full((6, 10), -1.0)])
def test_an_answer_of_nothing_is_no_object(maps):
    assert objects_in({"segmentation": maps, "segments_info": []}, {}) == []


def test_what_is_around_an_object_is_painted_grey():
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    mask = np.zeros((4, 5), bool)
    mask[1, 1:4] = mask[2, 2] = True
    patch = cut_out(picture, Detection("dog", 0.9, (1.0, 1.0, 4.0, 3.0), mask))
    wanted = picture[1:3, 1:4].copy()
    wanted[1, 0] = wanted[1, 2] = GREY
    assert np.array_equal(patch, wanted)


def teach(folder):
    """A tiny CLIP in the folder that knows GenEval's colours in GenEval's words."""
    model = clip_folder(folder)
    shown = [
        Image.fromarray(np.tile((np.array(shade) + more).clip(0, 255).astype(np.uint8), (40, 40, 1)))
        for more in (-12, 12)
        for shade in SHADES.values()
    ]
    pixels = image_processor()(images=shown, return_tensors="pt")["pixel_values"]
    texts = [words.format(color) for words in WORDINGS for color in SHADES]
    words = tokenizer_files(folder)(texts, padding=True, return_tensors="pt")
    optimizer, wanted = torch.optim.Adam(model.parameters(), lr=3e-3), torch.arange(10).repeat(2)
    for _ in range(60):
        scores = model(pixel_values=pixels, **words).logits_per_image.unflatten(1, (3, 10))
        loss = sum(torch.nn.functional.cross_entropy(scores[:, wording], wanted) for wording in range(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


class Strips(torch.nn.Module):
    """In the place of Mask2Former's network: asks in each quarter of the width for what is painted there on black; a
    tall thing is a mouse, any other a dog."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(id2label={0: "dog", 1: "mouse"})

    def forward(self, pixel_values, pixel_mask=None):
        painted = (pixel_values - pixel_values[:, :, :1, :1]).abs().sum(1) > 0.05
        masks = torch.stack([torch.zeros_like(painted) for _ in range(4)], 1)
        for quarter, columns in enumerate(torch.arange(64).chunk(4)):
            masks[:, quarter, :, columns] = painted[:, :, columns]
        rows = masks.any(3).sum(2)
        kinds = torch.stack([(rows > 0) & (rows < 32), rows >= 32, rows == 0], 2)
        return Mask2FormerForUniversalSegmentationOutput(
            class_queries_logits=20.0 * kinds, masks_queries_logits=40.0 * masks - 20
        )


def drawn(*things):
    """One thing for each quarter of a black picture, such as "red dog"; "" leaves it black."""
    picture = np.zeros((64, 64, 3), np.uint8)
    for quarter, thing in enumerate(things):
        if not thing:
            continue
        color, name = thing.split()
        top, bottom = BOXES[name]
        picture[top:bottom, 16 * quarter + 3 : 16 * quarter + 13] = SHADES[color]
    return picture


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """The taught CLIP, and the files of the detector with a network that sees what drawn() draws."""
    root = tmp_path_factory.mktemp("models")
    teach(root / CLIP)
    mask2former_folder(root / DETECTOR, ["dog", "mouse"])
    include = [{"class": "dog", "count": 2, "color": "red"}, {"class": "computer mouse", "count": 1, "color": "blue"}]
    beside = [{"class": "computer mouse", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}]
    notes = {"two red dogs": {"include": include[:1]}, "both": {"include": include}, "beside": {"include": beside}}
    network = {("Mask2FormerForUniversalSegmentation", str(root / DETECTOR)): Strips()}
    return Supplies(models_folder=str(root), notes=notes, loaded=network)


@pytest.mark.parametrize("color", COLOR_NAMES)
def test_a_taught_clip_names_each_colour_of_an_object_among_others(eyes, color):
    others = [name for name in COLOR_NAMES if name != color][:3]
    picture = drawn(f"{others[0]} dog", f"{color} dog", f"{others[1]} mouse")
    named = ClipColors(eyes.place(CLIP), eyes).name_color(picture, Detection("dog", 0.9, (19.0, 4.0, 29.0, 14.0)))
    assert named == color


def test_the_detector_says_what_lies_where_in_each_of_many_pictures(eyes):
    pictures = [drawn("red dog"), drawn("red dog", "blue mouse"), drawn(), drawn("red mouse", "pink dog", "green dog")]
    found = Mask2FormerDetector(eyes.place(DETECTOR), eyes).detect([*pictures, *pictures[::-1]])
    dog, mouse = ((name, *BOXES[kind]) for name, kind in (("dog", "dog"), ("computer mouse", "mouse")))
    wanted = [{(0, dog)}, {(0, dog), (1, mouse)}, set(), {(0, mouse), (1, dog), (2, dog)}]
    for objects, things in zip(found, [*wanted, *wanted[::-1]], strict=True):
        assert {(one.object_class, one.box) for one in objects} == {
            (name, (16.0 * quarter + 3, top, 16.0 * quarter + 13, bottom)) for quarter, (name, top, bottom) in things
        }
        assert all(one.confidence > 0.99 for one in objects)


@pytest.mark.parametrize(
    ("prompt", "things", "loose"),
    [
        ("two red dogs", ("red dog", "red dog"), 1),
        ("two red dogs", ("red dog",), 0.5),
        ("two red dogs", ("red dog", "blue dog"), 0.75),
        ("two red dogs", ("red mouse", "red mouse"), 0),
        ("both", ("blue mouse", "red dog", "red dog"), 1),
        ("both", ("red mouse", "red dog", "blue dog"), 0.625),
        ("beside", ("pink dog", "", "", "green mouse"), 1),
        ("beside", ("pink mouse", "", "", "green dog"), 2 / 3),
    ],
)
def test_pictures_are_told_apart_by_what_both_eyes_see(eyes, prompt, things, loose):
    rewards = {
        name: judge(new_reward(name, eyes), [drawn(*things)], [prompt])[0].reward
        for name in ("geneval", "geneval_strict")
    }
    assert rewards == {"geneval": pytest.approx(loose), "geneval_strict": loose == 1}
    assert all(keeps_to_its_range(name, [reward]) for name, reward in rewards.items())
