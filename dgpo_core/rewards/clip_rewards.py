"""Rewards that compare a picture with its prompt in CLIP's space: CLIPScore, PickScore, HPSv2; and the LAION marks.

Facts used: PickScore (Kirstain et al. 2023) and HPSv2 (Wu et al. 2023) are CLIP models tuned on people's choices;
CLIPScore is w * max(cos, 0) with w = 2.5 (Hessel et al. 2021); the LAION head is a stack of linear layers on the
normalised picture embedding of CLIP ViT-L/14.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.image_statistics import blurred, colour_trials, grain, patches
from dgpo_core.rewards.pretrained import BATCH, head_from, judged_in_batches, loading, weights_file
from dgpo_core.rewards.supplies import Supplies

HEAD = "layers."

SCALES: dict[str, Callable[[float], float]] = {
    "clipscore": lambda cosine: 2.5 * max(cosine, 0.0),
    "pickscore": lambda cosine: 100 * cosine,
    "hpsv2": lambda cosine: cosine,
}
"""From the cosine of picture and prompt to the number that papers print."""


class ClipReward:
    """Cosine of a picture and its prompt in the space of a CLIP model, on the reward's usual scale."""

    def __init__(self, name: str, supplies: Supplies) -> None:
        self.name, self._supplies, self._scale = name, supplies, SCALES[name]
        self._place = supplies.place(REWARD_FACTS[name].weights)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do; what is beyond the model's 77 tokens is not read."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        return judged_in_batches(self.name, self._values, pictures, prompts)

    def trials(self) -> list[Trial]:
        return colour_trials()

    @torch.no_grad()
    def _values(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float]:
        words = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        pixels = self._processor(images=[Image.fromarray(one) for one in pictures], return_tensors="pt")
        device = self._supplies.device
        seen = self._model(
            pixel_values=pixels["pixel_values"].to(device),
            input_ids=words["input_ids"].to(device),
            attention_mask=words["attention_mask"].to(device),
        )
        return [self._scale(float(one)) for one in (seen.image_embeds * seen.text_embeds).sum(dim=-1).float()]

    @cached_property
    def _model(self) -> Any:
        from transformers import CLIPModel

        with loading(self.name, self._place):
            return self._supplies.pretrained(CLIPModel, self._place)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        with loading(self.name, self._place):
            return CLIPTokenizer.from_pretrained(self._place)

    @cached_property
    def _processor(self) -> Any:
        from transformers import CLIPImageProcessorPil

        with loading(self.name, self._place):
            return CLIPImageProcessorPil.from_pretrained(self._place)


class AestheticReward:
    """The mark of 1 to 10 that people would give a picture's beauty, as the LAION head guesses it."""

    name = "aesthetic"

    def __init__(self, supplies: Supplies) -> None:
        self._supplies, self._place = supplies, supplies.place(REWARD_FACTS["aesthetic"].weights)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do: it plays no part."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        marks = [mark for start in range(0, len(pictures), BATCH) for mark in self._marks(pictures[start:][:BATCH])]
        return [Judgement(mark, ((self.name, mark),), f"aesthetic {mark:.2f}") for mark in marks]

    def trials(self) -> list[Trial]:
        return [Trial(blurred(patches()), grain(), "")]

    @torch.no_grad()
    def _marks(self, pictures: Sequence[Picture]) -> list[float]:
        pixels = self._processor(images=[Image.fromarray(one) for one in pictures], return_tensors="pt")
        encoder, head = self._parts
        embedding = encoder(pixel_values=pixels["pixel_values"].to(self._supplies.device)).image_embeds.float()
        return [float(mark) for mark in head(embedding / embedding.norm(dim=-1, keepdim=True)).squeeze(-1)]

    @cached_property
    def _parts(self) -> tuple[Any, nn.Module]:
        from transformers import CLIPVisionModelWithProjection

        with loading(self.name, self._place):
            encoder = self._supplies.pretrained(CLIPVisionModelWithProjection, self._place)
            head = head_from(_head_weights(self._place), self.name)
        return encoder, self._supplies.settle(head)

    @cached_property
    def _processor(self) -> Any:
        from transformers import CLIPImageProcessorPil

        with loading(self.name, self._place):
            return CLIPImageProcessorPil.from_pretrained(self._place)


def _head_weights(place: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    stored = load_file(weights_file(place))
    return {name.removeprefix(HEAD): weight for name, weight in stored.items() if name.startswith(HEAD)}
