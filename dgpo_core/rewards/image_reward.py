"""ImageReward (Xu et al. 2023): BLIP reads the prompt while it looks at the picture, a head turns that into a score.

Facts used: the weights are named as in BLIP (Li et al. 2022), pictures come in as CLIP's do, prompts are cut to 35
tokens of uncased BERT, the head sees the first token and is linear throughout, and its output is brought to mean 0 and
spread 1 over the authors' data. Sizes are read from the weights. They are published as a pickle; docs/rewards.md turns
it into safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.image_statistics import colour_trials
from dgpo_core.rewards.pretrained import head_from, judged_in_batches, loading, weights_file
from dgpo_core.rewards.supplies import Supplies

TOKENIZER = "google-bert/bert-base-uncased"
MEAN, SPREAD = 0.16717362830052426, 1.0333394966054072
"""Of the head's output over the authors' data."""
LONGEST_PROMPT = 35
HEAD_CHANNELS = 64
"""Channels of one attention head, in the picture's tower and in the prompt's."""
PICTURE, PROMPT, HEAD = "blip.visual_encoder.", "blip.text_encoder.", "mlp.layers."
COUNTER = "position_ids"
"""No weight, though it is stored among them."""

TRANSFORMERS_NAMES = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^blocks\.", "encoder.layers."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.attn\.qkv\.", ".self_attn.qkv."),
    (r"\.attn\.proj\.", ".self_attn.projection."),
    (r"^norm\.", "post_layernorm."),
)
"""What the weights of the picture's tower are called in BLIP and in transformers; the prompt's agree."""


class ImageReward:
    """How much people would prefer the picture for its prompt: around 0, mostly between -2 and 2."""

    name = "imagereward"

    def __init__(self, supplies: Supplies) -> None:
        facts = REWARD_FACTS[self.name]
        if not supplies.models_folder:
            raise RewardError(
                f"The reward {self.name} cannot be fetched: {facts.weights} publishes a pickle, which is not read. "
                "Turn it into safetensors once, as docs/rewards.md shows, and set reward.models_folder."
            )
        self._supplies, self._place = supplies, supplies.place(facts.weights)
        self._tokenizer_place = supplies.place(TOKENIZER)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt will do; what is beyond 35 tokens is not read."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        return judged_in_batches(self.name, self._scores, pictures, prompts)

    def trials(self) -> list[Trial]:
        return colour_trials()

    @torch.no_grad()
    def _scores(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float]:
        words = self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=LONGEST_PROMPT, return_tensors="pt"
        )
        tower, reader, head = self._parts
        pixels = self._processor(images=[Image.fromarray(one) for one in pictures], return_tensors="pt")
        device = self._supplies.device
        seen = tower(pixel_values=pixels["pixel_values"].to(device)).last_hidden_state
        read = reader(
            input_ids=words["input_ids"].to(device),
            attention_mask=words["attention_mask"].to(device),
            encoder_hidden_states=seen,
        ).last_hidden_state
        return [float(score) for score in (head(read[:, 0].float()).squeeze(-1) - MEAN) / SPREAD]

    @cached_property
    def _parts(self) -> tuple[Any, Any, nn.Module]:
        from safetensors.torch import load_file

        with loading(self.name, self._place):
            tower, reader, head = (
                self._supplies.settle(one) for one in parts_from(load_file(weights_file(self._place)))
            )
        return tower, reader, head

    @cached_property
    def _processor(self) -> Any:
        from transformers import CLIPImageProcessorPil

        side = self._parts[0].config.image_size
        return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import BertTokenizer

        with loading(self.name, self._tokenizer_place):
            return BertTokenizer.from_pretrained(self._tokenizer_place)


def parts_from(weights: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The picture's tower, the prompt's reader and the head, with the weights of ImageReward's own names.

    Raises:
        KeyError, RuntimeError: weights are missing or do not fit each other.
    """
    from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

    picture, prompt = _under(PICTURE, weights), _under(PROMPT, weights)
    patch, positions = picture["patch_embed.proj.weight"], picture["pos_embed"].shape[1] - 1
    width, reading_width = patch.shape[0], prompt["embeddings.word_embeddings.weight"].shape[1]
    tower = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=width,
            intermediate_size=picture["blocks.0.mlp.fc1.weight"].shape[0],
            num_hidden_layers=_depth(picture, r"blocks\.(\d+)\."),
            num_attention_heads=width // HEAD_CHANNELS,
            image_size=round(positions**0.5) * patch.shape[-1],
            patch_size=patch.shape[-1],
            layer_norm_eps=1e-6,
        )
    )
    reader = BlipTextModel(
        BlipTextConfig(
            vocab_size=prompt["embeddings.word_embeddings.weight"].shape[0],
            hidden_size=reading_width,
            encoder_hidden_size=width,
            intermediate_size=prompt["encoder.layer.0.intermediate.dense.weight"].shape[0],
            num_hidden_layers=_depth(prompt, r"encoder\.layer\.(\d+)\."),
            num_attention_heads=reading_width // HEAD_CHANNELS,
            max_position_embeddings=prompt["embeddings.position_embeddings.weight"].shape[0],
        ),
        add_pooling_layer=False,
    )
    tower.load_state_dict({_in_transformers(name): weight for name, weight in picture.items()})
    reader.load_state_dict({name: weight for name, weight in prompt.items() if not name.endswith(COUNTER)})
    return tower, reader, head_from(_under(HEAD, weights), ImageReward.name)


def is_used(name: str) -> bool:
    """Whether a stored weight plays a part in the score."""
    return name.startswith((PICTURE, PROMPT, HEAD)) and not name.endswith(COUNTER)


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def _depth(weights: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max(int(found[1]) for name in weights if (found := re.match(pattern, name)))


def _in_transformers(name: str) -> str:
    for theirs, ours in TRANSFORMERS_NAMES:
        name = re.sub(theirs, ours, name)
    return name
