"""The eyes of GenEval: Mask2Former on COCO's classes finds objects, CLIP names their colours; both by transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dgpo_core.data.geneval_requests import COLOR_NAMES
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.geneval import CONFIDENCE, Detection, GenEvalReward
from dgpo_core.rewards.pretrained import loading
from dgpo_core.rewards.supplies import Supplies

ALIASES = {"mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard"}
"""What GenEval calls differently than COCO."""
WORDINGS = ("a photo of a {color} {thing}", "a photo of a {color}-colored {thing}", "a photo of a {color} object")
GREY = 153
"""What GenEval puts around a thing, #999."""
BATCH = 4


def geneval_reward(supplies: Supplies, *, is_strict: bool) -> GenEvalReward:
    """GenEval with the usual models; they are loaded at the first picture."""
    detector = Mask2FormerDetector(supplies.place(REWARD_FACTS["geneval"].weights), supplies)
    colors = ClipColors(supplies.place(REWARD_FACTS["clipscore"].weights), supplies)
    return GenEvalReward(supplies, detector.detect, colors.name_color, is_strict=is_strict)


class Mask2FormerDetector:
    """Objects with masks, by instance segmentation."""

    def __init__(self, place: str, supplies: Supplies) -> None:
        self._place, self._supplies = place, supplies

    @torch.no_grad()
    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        """The objects of each picture that the model is at least CONFIDENCE sure of."""
        return [
            found
            for start in range(0, len(pictures), BATCH)
            for found in self._detected(pictures[start : start + BATCH])
        ]

    def _detected(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        processor, model = self._parts
        images = [Image.fromarray(one) for one in pictures]
        inputs = processor(images=images, return_tensors="pt").to(self._supplies.device)
        sizes = [picture.shape[:2] for picture in pictures]
        answers = processor.post_process_instance_segmentation(
            model(**inputs), threshold=CONFIDENCE, target_sizes=sizes, return_binary_maps=True
        )
        return [objects_in(answer, model.config.id2label) for answer in answers]

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

        with loading("geneval", self._place):
            processor = Mask2FormerImageProcessorPil.from_pretrained(self._place)
            return processor, self._supplies.pretrained(Mask2FormerForUniversalSegmentation, self._place)


def objects_in(answer: Mapping[str, Any], names: Mapping[int, str]) -> list[Detection]:
    """The objects in the processor's answer about one picture: a mask for each segment; names are those of classes."""
    if not len(answer["segments_info"]):
        return []
    found = []
    for info, mask in zip(answer["segments_info"], np.asarray(answer["segmentation"].cpu()) > 0, strict=True):
        rows, columns = np.nonzero(mask)
        if len(rows):
            box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
            name = names[info["label_id"]]
            found.append(Detection(ALIASES.get(name, name), float(info["score"]), box, mask))
    return found


class ClipColors:
    """The colour of an object that CLIP finds most like it, everything around the object painted grey."""

    def __init__(self, place: str, supplies: Supplies) -> None:
        self._place, self._supplies = place, supplies
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def name_color(self, picture: Picture, detection: Detection) -> str:
        """One of COLOR_NAMES."""
        processor, _, model = self._parts
        pixels = processor(images=[Image.fromarray(cut_out(picture, detection))], return_tensors="pt")["pixel_values"]
        seen = model.get_image_features(pixel_values=pixels.to(self._supplies.device)).pooler_output
        likeness = _unit(seen) @ self._words(detection.object_class).T
        return COLOR_NAMES[int(likeness.argmax())]

    def _words(self, thing: str) -> Tensor:
        """One direction per colour, the mean over the wordings."""
        if thing not in self._known:
            _, tokenizer, model = self._parts
            texts = [words.format(color=color, thing=thing) for color in COLOR_NAMES for words in WORDINGS]
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self._supplies.device)
            features = _unit(model.get_text_features(**tokens).pooler_output)
            self._known[thing] = _unit(features.unflatten(0, (len(COLOR_NAMES), len(WORDINGS))).mean(dim=1))
        return self._known[thing]

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        with loading("geneval", self._place):
            model = self._supplies.pretrained(CLIPModel, self._place)
            return CLIPImageProcessorPil.from_pretrained(self._place), CLIPTokenizer.from_pretrained(self._place), model


def cut_out(picture: Picture, detection: Detection) -> Picture:
    """The object's box of the picture, what is not the object painted grey."""
    left, top, right, bottom = (round(edge) for edge in detection.box)
    patch = picture[max(0, top) : bottom, max(0, left) : right].copy()
    if isinstance(detection.mask, np.ndarray):
        patch[~detection.mask[max(0, top) : bottom, max(0, left) : right]] = GREY
    return patch


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)
