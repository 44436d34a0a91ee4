"""Weights of a small pipeline under the names that its authors gave them, as single files hold them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

Weights = dict[str, Tensor]
Names = Mapping[str, str | Callable[[re.Match[str]], str]]
"""Patterns of diffusers' names, and what stands in their authors' files for them."""

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
SD3: Names = {
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
FLUX: Names = {
    r"^x_embedder": "img_in",
    r"^context_embedder": "txt_in",
    r"^time_text_embed\.timestep_embedder\.linear_1": "time_in.in_layer",
    r"^time_text_embed\.timestep_embedder\.linear_2": "time_in.out_layer",
    r"^time_text_embed\.text_embedder\.linear_1": "vector_in.in_layer",
    r"^time_text_embed\.text_embedder\.linear_2": "vector_in.out_layer",
    r"^time_text_embed\.guidance_embedder\.linear_1": "guidance_in.in_layer",
    r"^time_text_embed\.guidance_embedder\.linear_2": "guidance_in.out_layer",
    r"^proj_out": "final_layer.linear",
    r"^norm_out\.linear": "final_layer.adaLN_modulation.1",
    r"^(single_transformer_blocks\.\d+)\.proj_out": r"\1.linear2",
    r"^(single_transformer_blocks\.\d+)\.norm\.linear": r"\1.modulation.lin",
    r"^(single_transformer_blocks\.\d+)\.attn\.norm_q\.weight": r"\1.norm.query_norm.scale",
    r"^(single_transformer_blocks\.\d+)\.attn\.norm_k\.weight": r"\1.norm.key_norm.scale",
    r"^single_transformer_blocks": "single_blocks",
    r"^transformer_blocks": "double_blocks",
    r"norm1_context\.linear": "txt_mod.lin",
    r"norm1\.linear": "img_mod.lin",
    r"ff_context\.net\.0\.proj": "txt_mlp.0",
    r"ff_context\.net\.2": "txt_mlp.2",
    r"ff\.net\.0\.proj": "img_mlp.0",
    r"ff\.net\.2": "img_mlp.2",
    r"attn\.add_([qkv])_proj": r"txt_attn.to_\1",
    r"attn\.to_add_out": "txt_attn.proj",
    r"attn\.to_out\.0": "img_attn.proj",
    r"attn\.norm_added_q\.weight": "txt_attn.norm.query_norm.scale",
    r"attn\.norm_added_k\.weight": "txt_attn.norm.key_norm.scale",
    r"attn\.norm_q\.weight": "img_attn.norm.query_norm.scale",
    r"attn\.norm_k\.weight": "img_attn.norm.key_norm.scale",
    r"(double_blocks\.\d+)\.attn\.to_([qkv])": r"\1.img_attn.to_\2",
}
SANA: Names = {
    r"^patch_embed\.proj": "x_embedder.proj",
    r"^time_embed\.emb\.timestep_embedder\.linear_1": "t_embedder.mlp.0",
    r"^time_embed\.emb\.timestep_embedder\.linear_2": "t_embedder.mlp.2",
    r"^time_embed\.linear": "t_block.1",
    r"^caption_projection\.linear_": "y_embedder.y_proj.fc",
    r"^caption_norm": "attention_y_norm",
    r"^proj_out": "final_layer.linear",
    r"^scale_shift_table": "final_layer.scale_shift_table",
    r"^transformer_blocks": "blocks",
    r"attn1\.to_out\.0": "attn.proj",
    r"attn1\.to_": "attn.to_",
    r"attn2\.to_out\.0": "cross_attn.proj",
    r"attn2\.to_q": "cross_attn.q_linear",
    r"attn2\.to_": "cross_attn.to_",
    r"ff\.conv_inverted": "mlp.inverted_conv.conv",
    r"ff\.conv_depth": "mlp.depth_conv.conv",
    r"ff\.conv_point": "mlp.point_conv.conv",
}
Z_IMAGE: Names = {
    r"^all_final_layer\.2-1": "final_layer",
    r"^all_x_embedder\.2-1": "x_embedder",
    r"attention\.to_out\.0": "attention.out",
    r"attention\.norm_([qk])": r"attention.\1_norm",
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
    weights = _fused(_transformer(folder, SD3, SWAPPED), r"(.*attn2?)\.to_([qkv])\.(weight|bias)", r"\1.qkv.\3")
    return {**_under("model.diffusion_model.", weights), **_under("first_stage_model.", _autoencoder(folder))}


def flux_file(folder: Path) -> Weights:
    """FLUX.1-dev: the transformer alone. A single block has its feed-forward layer in one with its attention."""
    weights = _transformer(folder, FLUX, SWAPPED)
    for kind in ("weight", "bias"):
        for block in {name.partition(".attn.to_q")[0] for name in weights if name.endswith(f".attn.to_q.{kind}")}:
            parts = [*(f"{block}.attn.to_{letter}.{kind}" for letter in "qkv"), f"{block}.proj_mlp.{kind}"]
            weights[f"{block}.linear1.{kind}"] = torch.cat([weights.pop(part) for part in parts])
    return _under("", _fused(weights, r"(double_blocks.*_attn)\.to_([qkv])\.(weight|bias)", r"\1.qkv.\3"))


def z_image_file(folder: Path) -> Weights:
    """Z-Image as it is passed around: the transformer alone, with what its authors' code has and nothing reads."""
    weights = _fused(_transformer(folder, Z_IMAGE), r"(.*attention)\.to_([qkv])\.(weight)", r"\1.qkv.\3")
    return _under("model.diffusion_model.", weights | {"norm_final.weight": torch.ones(1)})


def sana_file(folder: Path) -> Weights:
    """Sana: the transformer alone, with what its authors' file holds and nothing reads."""
    weights = _fused(_transformer(folder, SANA), r"(blocks\.\d+\.attn)\.to_([qkv])\.(weight)", r"\1.qkv.\3")
    for name in [name for name in weights if "cross_attn.to_k" in name]:
        both = torch.cat([weights.pop(name), weights.pop(name.replace("to_k", "to_v"))])
        weights[name.replace("to_k", "kv_linear")] = both
    return _under("", weights | {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)})


def qwen_image_file(folder: Path) -> Weights:
    """Qwen-Image as it is passed around: the transformer alone, its names those of diffusers behind a prefix."""
    return _under("model.diffusion_model.", _part(folder, "transformer"))


def _transformer(folder: Path, names: Names, swapped: tuple[str, ...] = ()) -> Weights:
    """The folder's transformer under its authors' names; the two halves of what is swapped change places."""
    weights = {}
    for name, one in _part(folder, "transformer").items():
        for ours, theirs in names.items():
            name = re.sub(ours, theirs, name)
        weights[name] = torch.cat([*one.chunk(2)][::-1]) if name.startswith(swapped) else one
    return weights


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
