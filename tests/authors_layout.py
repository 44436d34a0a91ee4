"""Weights of a small pipeline under the names that its authors gave them, as single files hold them."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

Weights = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Of the U-Net of two levels of one layer that small_families builds."""


CLIP = {
    "text_model.encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    ".fc1.": ".c_fc.",
    ".fc2.": ".c_proj.",
    ".self_attn.": ".attn.",
    "text_model.final_layer_norm": "ln_final",
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
}
"""Of the encoder that OpenCLIP trained, the second of Stable Diffusion XL."""
SD3 = {
    r"^pos_embed\.pos_embed$": "pos_embed",
    r"^pos_embed\.proj": "x_embedder.proj",
    r"^time_text_embed\.timestep_embedder\.linear_(\d)": lambda found: f"t_embedder.mlp.{2 * int(found[1]) - 2}",
    r"^time_text_embed\.text_embedder\.linear_(\d)": lambda found: f"y_embedder.mlp.{2 * int(found[1]) - 2}",
    r"^proj_out": "final_layer.linear",
    r"^norm_out\.linear": "final_layer.adaLN_modulation.1",
    r"^transformer_blocks": "joint_blocks",
    r"attn\.norm_added_([qk])": r"context_block.attn.ln_\1",
    r"attn\.add_([qkv])_proj": r"context_block.attn.to_\1",
    r"attn\.to_add_out": "context_block.attn.proj",
    r"norm1_context\.linear": "context_block.adaLN_modulation.1",
    r"ff_context\.net\.0\.proj": "context_block.mlp.fc1",
    r"ff_context\.net\.2": "context_block.mlp.fc2",
    r"(\d)\.(attn2?)\.norm_([qk])": r"\1.x_block.\2.ln_\3",
    r"(\d)\.(attn2?)\.to_([qkv])": r"\1.x_block.\2.to_\3",
    r"(\d)\.(attn2?)\.to_out\.0": r"\1.x_block.\2.proj",
    r"norm1\.linear": "x_block.adaLN_modulation.1",
    r"\.ff\.net\.0\.proj": ".x_block.mlp.fc1",
    r"\.ff\.net\.2": ".x_block.mlp.fc2",
}
SWAPPED = ("final_layer.adaLN_modulation", "joint_blocks.1.context_block.adaLN_modulation")
"""Whose two halves stand the other way round: what is last, in the network and on the prompt's side."""


def sd_file(folder: Path) -> Weights:
    """Stable Diffusion 1.5: U-Net, autoencoder and CLIP, and what else lies in its authors' file."""
    return {
        **_network_and_autoencoder(folder),
        **_under("cond_stage_model.", _first_clip(folder)),
        "alphas_cumprod": torch.zeros(1000),
    }


def sdxl_file(folder: Path) -> Weights:
    """Stable Diffusion XL: U-Net, autoencoder and two text encoders."""
    second = {}
    for name, one in _part(folder, "text_encoder_2").items():
        for ours, theirs in CLIP.items():
            name = name.replace(ours, theirs)
        second[name] = one
    second = _fused(second, r"(.*attn)\.([qkv])_proj\.(weight|bias)", r"\1.in_proj_\3")
    second["text_projection"] = second.pop("text_projection.weight").T
    return {
        **_network_and_autoencoder(folder),
        **_under("conditioner.embedders.0.", _first_clip(folder)),
        **_under("conditioner.embedders.1.model.", second),
    }


def sd3_file(folder: Path) -> Weights:
    """Stable Diffusion 3.5: transformer and autoencoder."""
    weights = {}
    for name, one in _part(folder, "transformer").items():
        for ours, theirs in SD3.items():
            name = re.sub(ours, theirs, name)
        weights[name] = torch.cat([*one.chunk(2)][::-1]) if name.startswith(SWAPPED) else one
    weights = _fused(weights, r"(.*attn2?)\.to_([qkv])\.(weight|bias)", r"\1.qkv.\3")
    return {**_under("model.diffusion_model.", weights), **_under("first_stage_model.", _autoencoder(folder))}


def _network_and_autoencoder(folder: Path) -> Weights:
    return {
        **_under("model.diffusion_model.", {_unet_name(name): one for name, one in _part(folder, "unet").items()}),
        **_under("first_stage_model.", _autoencoder(folder)),
    }


def _first_clip(folder: Path) -> Weights:
    text = {name.removeprefix("text_model."): one for name, one in _part(folder, "text_encoder").items()}
    text["embeddings.position_ids"] = torch.arange(len(text["embeddings.position_embedding.weight"]))[None]
    return _under("transformer.text_model.", text)


def _fused(weights: Weights, separate: str, together: str) -> Weights:
    """Queries, keys and values, whose names match separate with their letter second, as one under the name together."""
    fused = {}
    for name in sorted(weights):  # k, q, v
        found = re.fullmatch(separate, name)
        if found is None:
            fused[name] = weights[name]
        elif found[2] == "q":
            start, end = name[: found.start(2)], name[found.end(2) :]
            fused[found.expand(together)] = torch.cat([weights[f"{start}{letter}{end}"] for letter in "qkv"])
    return fused


def _part(folder: Path, name: str) -> Weights:
    (file,) = (folder / name).glob("*.safetensors")
    return load_file(file)


def _under(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: one.contiguous() for name, one in weights.items()}


def _unet_name(name: str) -> str:
    start = next(one for one in UNET if name.startswith(f"{one}."))
    rest = name.removeprefix(f"{start}.")
    if "resnets" in start:
        layer, _, kind = rest.rpartition(".")
        rest = f"{RESNET[layer]}.{kind}"
    return f"{UNET[start]}.{rest}"


def _autoencoder(folder: Path) -> Weights:
    weights = _part(folder, "vae")
    top = max(int(found[1]) for name in weights if (found := re.match(r"decoder\.up_blocks\.(\d)", name)))
    return {_autoencoder_name(name, top): one for name, one in weights.items()}


def _autoencoder_name(name: str, top: int) -> str:
    """Levels of the decoder are counted from the other side; top is the last."""
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{top - int(found[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{top - int(found[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
