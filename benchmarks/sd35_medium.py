"""Stable Diffusion 3.5 Medium in its real size with random weights; only its text encoders are nearly empty.

They have the widths and lengths of the real ones, so that the network is given what it would be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from base_model.pipeline import TOKENIZER

TRANSFORMER = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "out_channels": 16,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
    "qk_norm": "rms_norm",
}
AUTOENCODER = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
PUBLISHED_NUMBERS = 2_243_171_520
"""Parameters of the transformer; the table of positions beside them makes it the 2.5 billion that its makers name."""
CLIP_WIDTHS = (768, 1280)
CLIP_TOKENS = 77
T5_WIDTH = 4096


def random_pipeline(device: str, dtype: torch.dtype) -> StableDiffusion3Pipeline:
    """The pipeline, made on the device in dtype; on the device meta it has no numbers and takes no memory."""
    with _made_on(device, dtype):
        transformer, vae = SD3Transformer2DModel(**TRANSFORMER), AutoencoderKL(**AUTOENCODER)
    for part in (transformer, vae):
        nn.Module.to(part, device, dtype)
    return StableDiffusion3Pipeline(
        transformer=_without_zeros(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        **text_parts(device, dtype),
    )


def text_parts(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """The three text encoders and their tokenizers, by the names that the pipeline has for them."""
    words = _clip_tokenizer()
    with _made_on(device, dtype):
        first, second = (_clip(words, width) for width in CLIP_WIDTHS)
        third = T5EncoderModel(_empty_t5())
    for part in (first, second, third):
        nn.Module.to(part, device, dtype)
    return {
        "text_encoder": first,
        "tokenizer": words,
        "text_encoder_2": second,
        "tokenizer_2": words,
        "text_encoder_3": third,
        "tokenizer_3": T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)], extra_ids=0),
    }


def save_configurations(folder: Path) -> Path:
    """Writes the pipeline's folder without any weights, which is what memory is reckoned from."""
    pipeline = random_pipeline("meta", torch.bfloat16)
    pipeline.save_config(folder)
    for name in ("transformer", "vae", "scheduler"):
        getattr(pipeline, name).save_config(folder / name)
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        getattr(pipeline, name).config.save_pretrained(folder / name)
    return folder


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Within this with, new networks are made on the device in dtype, never in float32 or in main memory first."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _without_zeros(transformer: nn.Module) -> nn.Module:
    """A fresh network may begin with weights of zero, through which no gradient flows."""
    with torch.no_grad():
        for weight in transformer.parameters():
            if not weight.is_meta and not weight.any():
                weight.normal_(std=0.02)
    return transformer


def _clip_tokenizer() -> CLIPTokenizer:
    vocabulary, merges = (str(TOKENIZER / name) for name in ("vocab.json", "merges.txt"))
    return CLIPTokenizer(vocabulary, merges, model_max_length=CLIP_TOKENS, pad_token="<|endoftext|>")


def _clip(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_hidden_layers=1,
            num_attention_heads=width // 64,
            max_position_embeddings=CLIP_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def _empty_t5() -> T5Config:
    return T5Config(vocab_size=32, d_model=T5_WIDTH, d_kv=8, d_ff=8, num_layers=1, num_heads=1, is_gated_act=True)
