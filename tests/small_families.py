"""A pipeline folder of every family that can be trained: all stock classes, the real layout, and almost no weights.

Pictures are 64 x 64 and latents 8 x 8 but for Sana, whose autoencoder here makes 8 x 8 of 64 x 64 too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from base_model.pipeline import NUM_TOKENS, shapes_tokenizer

SIDE, PIXELS, TEXT_WIDTH = 8, 64, 16
WORDS = [
    "a",
    "b",
    "circle",
    "square",
    "ring",
    "cross",
    "red",
    "blue",
    "green",
    "two",
    "three",
    "above",
    "diamond",
    "triangle",
    "circles",
    "squares",
    "rings",
]


@dataclass(frozen=True)
class Family:
    """How a family is made small, and how its stock pipeline is asked for the picture that the lab draws."""

    build: Callable[[], DiffusionPipeline]
    is_flow: bool = True
    unread: str = r"$^"
    """LoRA matrices that nothing reads, such as those of the text after the last block."""
    call: tuple[tuple[str, object], ...] = ()
    packs: bool = False
    has_lora_loader: bool = True
    plain_guidance: float = 1.0
    """guidance_scale by which the stock pipeline means none."""


def save_small_family(name: str, folder: Path) -> Path:
    """Saves a family's pipeline with random weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        FAMILIES[name].build().save_pretrained(folder, safe_serialization=True)
    return folder


def autoencoder(channels: int = 4, **settings: object) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=2,
        sample_size=PIXELS,
        mid_block_add_attention=False,
        **settings,
    )


def clip(kind: type, width: int = TEXT_WIDTH) -> torch.nn.Module:
    tokenizer = shapes_tokenizer()
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=NUM_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(f"▁{word}", -3.0) for word in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=32, d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2, is_gated_act=True)
    )


def unet(text_width: int, **settings: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=text_width,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        **settings,
    )


NOISE_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def sd(prediction_type: str = "epsilon", **schedule: object) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip(CLIPTextModel),
        tokenizer=shapes_tokenizer(),
        unet=unet(TEXT_WIDTH),
        scheduler=DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False, prediction_type=prediction_type, **schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=clip(CLIPTextModel),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer=shapes_tokenizer(),
        tokenizer_2=shapes_tokenizer(),
        unet=unet(
            2 * TEXT_WIDTH,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(**NOISE_SCHEDULE, timestep_spacing="leading"),
    )


def flux() -> FluxPipeline:
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=clip(CLIPTextModel),
        tokenizer=shapes_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


FAMILIES: dict[str, Family] = {
    "sd": Family(build=sd, is_flow=False),
    "sd-v": Family(build=lambda: sd("v_prediction", rescale_betas_zero_snr=True), is_flow=False),
    "sdxl": Family(build=sdxl, is_flow=False),
    "flux": Family(build=flux, packs=True, call=(("guidance_scale", 3.5),)),
}
