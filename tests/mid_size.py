"""Stable Diffusion 3 pipelines large enough that weights and activations are what memory goes to."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from small_model import TEXT_WIDTH, small_clip
from transformers import CLIPTextModelWithProjection

from base_model.pipeline import shapes_tokenizer


def save_mid_size_pipeline(
    folder: Path, vae: AutoencoderKL, *, width: int, num_layers: int, latent_side: int, device: str = "cpu"
) -> Path:
    """Saves one in bfloat16 with random weights, the same every time on the same kind of device."""
    cuda = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(0)
        with torch.device(device):
            transformer = SD3Transformer2DModel(
                sample_size=latent_side,
                patch_size=2,
                in_channels=vae.config.latent_channels,
                out_channels=vae.config.latent_channels,
                num_layers=num_layers,
                attention_head_dim=64,
                num_attention_heads=width // 64,
                joint_attention_dim=2 * TEXT_WIDTH,
                caption_projection_dim=width,
                pooled_projection_dim=2 * TEXT_WIDTH,
                pos_embed_max_size=latent_side,
                qk_norm="rms_norm",
                dual_attention_layers=(0,),
            )
            torch.nn.init.normal_(transformer.proj_out.weight, std=0.02)
        first, second = (small_clip(CLIPTextModelWithProjection, TEXT_WIDTH, num_hidden_layers=1) for _ in range(2))
    tokenizer = shapes_tokenizer()
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=first,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    for part in (transformer, vae, first, second):
        torch.nn.Module.to(part, "cpu", torch.bfloat16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
