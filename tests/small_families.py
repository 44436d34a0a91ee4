"""A pipeline folder of every family that can be trained: all stock classes, the real layout, and almost no weights.

Pictures are 64 x 64 and latents 8 x 8 but for Sana, whose autoencoder here makes 8 x 8 of 64 x 64 too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from small_model import small_autoencoder, small_clip
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from base_model.pipeline import shapes_tokenizer

SIDE, PIXELS, TEXT_WIDTH = 8, 64, 16
WORDS = ["a", "b", "circle", "square", "ring", "cross", "red", "blue", "green", "two", "three"]
WORDS += ["above", "diamond", "triangle", "circles", "squares", "rings"]


@dataclass(frozen=True)
class Family:
    """How a family is made small, and how its stock pipeline is asked for the picture that the lab draws."""

    build: Callable[[], DiffusionPipeline]
    is_flow: bool = True
    unread: str = r"$^"
    """LoRA matrices that nothing reads, such as those of the text after the last block."""
    call: tuple[tuple[str, object], ...] = ()
    absent: tuple[str, ...] = ()
    """Parts that it draws without, of which its stock pipeline has to be told."""
    packs: bool = False
    has_lora_loader: bool = True
    never_read: str = r"$^"
    """The same among all weights."""
    recipe: str = ""
    """The recipe that ships for it."""
    plain_guidance: float = 1.0
    """guidance_scale by which the stock pipeline means none."""


def save_small_family(name: str, folder: Path) -> Path:
    """Saves a family's pipeline with random weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        without_its_zeros(FAMILIES[name].build()).save_pretrained(folder, safe_serialization=True)
    return folder


def autoencoder(**settings: object) -> AutoencoderKL:
    return small_autoencoder(4, PIXELS, **settings)


def clip(kind: type[PreTrainedModel], width: int = TEXT_WIDTH) -> PreTrainedModel:
    return small_clip(kind, width, num_hidden_layers=2)


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)] + [(f"▁{word}", -3.0) for word in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def t5(width: int = TEXT_WIDTH) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=32, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, is_gated_act=True)
    )


def sd3(t5_encoder: T5EncoderModel | None = None, **details: object) -> StableDiffusion3Pipeline:
    """CLIP's two encoders side by side are as wide as T5, which may be missing."""
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(CLIPTextModelWithProjection),
        tokenizer=shapes_tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=shapes_tokenizer(),
        text_encoder_3=t5_encoder,
        tokenizer_3=t5_encoder and t5_tokenizer(),
        transformer=SD3Transformer2DModel(
            sample_size=SIDE,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * TEXT_WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * TEXT_WIDTH,
            pos_embed_max_size=SIDE,
            **details,
        ),
    )


def sd35_medium() -> StableDiffusion3Pipeline:
    return sd3(t5(2 * TEXT_WIDTH), qk_norm="rms_norm", dual_attention_layers=(0,))


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
        text_encoder_2=clip(CLIPTextModelWithProjection, 8),  # as in the large one, of another width than the first
        tokenizer=shapes_tokenizer(),
        tokenizer_2=shapes_tokenizer(),
        unet=unet(
            TEXT_WIDTH + 8,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=8 + 6 * 8,
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


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Every byte is a token, and so is every mark of a conversation."""
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocab=letters | {"<|endoftext|>": len(letters)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}<|im_start|>"
    )
    return tokenizer


QWEN = {
    "vocab_size": 300,
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 2 * TEXT_WIDTH,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def qwen_image() -> QwenImagePipeline:
    vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[0.8, 1.2, 1.0, 0.9],
    )
    text = Qwen2_5_VLConfig(
        text_config={
            **QWEN,
            "num_hidden_layers": 1,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        vision_config={"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 1, "out_hidden_size": 16},
    )
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(text),
        tokenizer=qwen_tokenizer(),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
    )


def z_image() -> ZImagePipeline:
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(Qwen3Config(**QWEN, num_hidden_layers=2, head_dim=8)),
        tokenizer=qwen_tokenizer(),
        transformer=ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=TEXT_WIDTH,
            axes_dims=[4, 4, 8],
            axes_lens=[512, 32, 32],
        ),
    )


def sana() -> SanaPipeline:
    vae = AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(4, 4, 8, 8),
        decoder_block_out_channels=(4, 4, 8, 8),
        encoder_layers_per_block=(1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_qkv_multiscales=((), (), (), ()),
        decoder_qkv_multiscales=((), (), (), ()),
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        attention_head_dim=2,
        scaling_factor=0.41407,
    )
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁"]
    letters = [chr(code) for code in range(33, 127)] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = GemmaTokenizer(vocab={token: number for number, token in enumerate(marks + letters)}, merges=[])
    text = Gemma2Config(**QWEN | {"vocab_size": 400}, num_hidden_layers=1, head_dim=8)
    return SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=Gemma2Model(text),
        vae=vae,
        transformer=SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=TEXT_WIDTH,
            sample_size=SIDE,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def pixart() -> PixArtSigmaPipeline:
    return PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=autoencoder(scaling_factor=0.13025),
        transformer=PixArtTransformer2DModel(
            sample_size=SIDE,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=TEXT_WIDTH,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=16,
            use_additional_conditions=False,
        ),
        scheduler=DPMSolverMultistepScheduler(),
    )


def without_its_zeros(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    """A fresh transformer may begin as if prompt and time did not matter; here they do."""
    with torch.no_grad():
        for weight in getattr(pipeline, "transformer", torch.nn.Module()).parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return pipeline


SD3_LAST_PROMPT = r"transformer_blocks\.1\.attn\.(add_q_proj|norm_added_q)"
"""Queries of the prompt in the last block, where only the picture goes on."""

FAMILIES: dict[str, Family] = {
    "sd3": Family(
        build=sd3,
        recipe="sd35-large",
        call=(("max_sequence_length", 0),),
        absent=("text_encoder_3", "tokenizer_3"),
        unread=SD3_LAST_PROMPT,
        never_read=SD3_LAST_PROMPT,
    ),
    "sd35m": Family(
        build=sd35_medium, recipe="sd35m-geneval-mode-2b", unread=SD3_LAST_PROMPT, never_read=SD3_LAST_PROMPT
    ),
    "sd": Family(build=sd, is_flow=False, recipe="sd15"),
    "sd-v": Family(build=lambda: sd("v_prediction", rescale_betas_zero_snr=True), is_flow=False, recipe="sd15"),
    "sdxl": Family(build=sdxl, is_flow=False, recipe="sdxl"),
    "flux": Family(build=flux, packs=True, recipe="flux-dev", call=(("guidance_scale", 3.5),)),
    "qwen-image": Family(
        build=qwen_image,
        recipe="qwen-image",
        packs=True,
        call=(("guidance_scale", None), ("true_cfg_scale", 1.0)),
        unread=r"add_q_proj|to_add_out|txt_mlp",
        never_read=r"add(ed)?_q|to_add_out|txt_mlp",
    ),
    "z-image": Family(build=z_image, recipe="z-image", plain_guidance=0.0),
    "sana": Family(build=sana, recipe="sana", call=(("use_resolution_binning", False),)),
    "pixart": Family(
        build=pixart,
        recipe="pixart-sigma",
        is_flow=False,
        has_lora_loader=False,
        call=(("use_resolution_binning", False),),
    ),
}
