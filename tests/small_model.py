"""A Stable Diffusion 3 pipeline folder that is all stock classes and almost no weights, and a world without text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, PreTrainedModel

from base_model.pipeline import NUM_TOKENS, shapes_tokenizer

CHANNELS, LATENT_SIZE, TEXT_WIDTH, WIDTH = 4, 4, 8, 32
PROMPTS = ["a red circle", "a blue square", "three rings", "a cross above a diamond", "a green triangle", "two squares"]


def save_small_pipeline(folder: Path) -> Path:
    """Saves the pipeline with random weights, the same every time; its pictures are 32 x 32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = shapes_tokenizer()
        pipeline = StableDiffusion3Pipeline(
            transformer=_transformer(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
            vae=small_autoencoder(
                CHANNELS,
                8 * LATENT_SIZE,
                scaling_factor=0.8,
                shift_factor=0.05,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=_text_encoder(),
            tokenizer=tokenizer,
            text_encoder_2=_text_encoder(),
            tokenizer_2=tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def damaged_copy(folder: Path, into: Path, damage: Callable[[Path], object]) -> Path:
    """A copy of a model folder, damaged."""
    shutil.copytree(folder, into)
    damage(into)
    return into


def _transformer() -> SD3Transformer2DModel:
    transformer = SD3Transformer2DModel(
        sample_size=LATENT_SIZE,
        patch_size=1,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=2,
        attention_head_dim=WIDTH // 2,
        num_attention_heads=2,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=LATENT_SIZE,
        qk_norm="rms_norm",
    )
    # A fresh one ends in zeros: its velocity would be 0 whatever comes before.
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.2)
    return transformer


def _text_encoder() -> PreTrainedModel:
    return small_clip(CLIPTextModelWithProjection, TEXT_WIDTH, num_hidden_layers=1, hidden_act="gelu")


def small_autoencoder(channels: int, side: int, **settings: object) -> AutoencoderKL:
    """An autoencoder of pictures of so many pixels a side, eight to a latent."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=2,
        sample_size=side,
        mid_block_add_attention=False,
        **settings,
    )


def small_clip(kind: type[PreTrainedModel], width: int, **settings: object) -> PreTrainedModel:
    """A text encoder of CLIP's kind for the tokenizer of Shapes."""
    tokenizer = shapes_tokenizer()
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_attention_heads=2,
            max_position_embeddings=NUM_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
            **settings,
        )
    )
