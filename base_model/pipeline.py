"""The parts of the Shapes pipeline, untrained, all of stock classes, and their saving as one folder."""

from __future__ import annotations

from pathlib import Path

from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from base_model.autoencoder import LATENT_CHANNELS

TOKENIZER = Path(__file__).parent / "tokenizer"
NUM_TOKENS = 16
TEXT_WIDTH = 64
WIDTH, NUM_HEADS, NUM_LAYERS = 128, 4, 6


def shapes_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of the Shapes world is one token.

    Its files are kept and not made anew: byte-pair training breaks ties at random, and a model
    that was trained with other token numbers does not understand a word.
    """
    return CLIPTokenizer(
        str(TOKENIZER / "vocab.json"),
        str(TOKENIZER / "merges.txt"),
        model_max_length=NUM_TOKENS,
        pad_token="<|endoftext|>",
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """A CLIP text encoder of two layers; like SD3, the pipeline has two of them."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=NUM_TOKENS,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def new_transformer() -> SD3Transformer2DModel:
    """The SD3 transformer: 64 image tokens of one latent each."""
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=NUM_LAYERS,
        attention_head_dim=WIDTH // NUM_HEADS,
        num_attention_heads=NUM_HEADS,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )


def new_pipeline(autoencoder: AutoencoderKL) -> StableDiffusion3Pipeline:
    """The whole pipeline around a trained autoencoder, transformer and text encoders untrained."""
    tokenizer = shapes_tokenizer()
    return StableDiffusion3Pipeline(
        transformer=new_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=autoencoder,
        text_encoder=new_text_encoder(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=new_text_encoder(tokenizer),
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
