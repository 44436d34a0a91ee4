"""The parts of the Shapes pipeline, untrained, all of stock classes, and their saving as one folder."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from base_model.autoencoder import LATENT_CHANNELS
from dgpo_core.data.requests import CATEGORIES, ENDINGS, OPENINGS, all_requests

NUM_TOKENS = 16
TEXT_WIDTH = 64
WIDTH, NUM_HEADS, NUM_LAYERS = 128, 4, 6


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of the Shapes world is one token."""
    sentences = [request.wording() for category in CATEGORIES for request in all_requests(category)]
    sentences += [*OPENINGS, *ENDINGS]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"),
        end_of_word_suffix="</w>",
    )
    tokenizer.train_from_iterator(sentences, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789,.!?'-":
        for form in (letter, f"{letter}</w>"):
            vocabulary.setdefault(form, len(vocabulary))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    return CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
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


def new_pipeline(autoencoder: AutoencoderKL, folder: Path) -> StableDiffusion3Pipeline:
    """The whole pipeline around a trained autoencoder. folder keeps the tokenizer's files."""
    tokenizer = new_tokenizer(folder / "tokenizer")
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
