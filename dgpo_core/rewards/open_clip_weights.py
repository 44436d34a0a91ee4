"""Weights that OpenCLIP saved, such as the published HPSv2.1, turned into those that transformers' CLIPModel reads.

python -m dgpo_core.rewards.open_clip_weights HPS_v2.1_compressed.pt model.safetensors
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

NAMES = (
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),  # spelt so in transformers
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^text_projection$", "text_projection.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""What the weights are called in OpenCLIP and in transformers."""
TURNED = ("visual.proj", "text_projection")
"""Stored with their rows as columns."""
MASK = "attn_mask"
"""No weight, though it may be stored among them."""


def for_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an OpenCLIP model under the names of CLIPModel, in float32."""
    return dict(one for name, weight in weights.items() if name != MASK for one in _renamed(name, weight.float()))


def _renamed(name: str, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    weight = weight.T if name in TURNED else weight
    for pattern, word in NAMES:
        name = re.sub(pattern, word, name)
    if ".in_proj_" not in name:
        yield name, weight.contiguous()
        return
    for letter, part in zip("qkv", weight.chunk(3), strict=True):
        yield name.replace(".in_proj_", f".{letter}_proj."), part.contiguous()


def convert(checkpoint: Path, target: Path) -> None:
    """Writes the weights of a checkpoint, alone or under state_dict, as safetensors; nothing in it is run."""
    from safetensors.torch import save_file

    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    save_file(for_transformers(stored.get("state_dict", stored)), target, {"format": "pt"})


if __name__ == "__main__":
    arguments = ArgumentParser(description="Turns a checkpoint of OpenCLIP into safetensors for transformers.")
    arguments.add_argument("checkpoint", type=Path)
    arguments.add_argument("target", type=Path)
    convert(**vars(arguments.parse_args()))
