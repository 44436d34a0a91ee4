"""Tiny models with random weights in the layouts that the real ones have, made from their config classes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    SwinConfig,
)

SIDE = 32
WORDS = ["a", "red", "blue", "picture", "photo", "of", "yes", "no", "user", "image", "?"]
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


def tokenizer_files(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that knows single letters only, as the files that CLIP's have."""
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={word: index for index, word in enumerate(vocabulary)}, merges=[], model_max_length=77
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def image_processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def clip_folder(folder: Path) -> CLIPModel:
    """Saves a tiny CLIP with its tokenizer and its image processor, and returns it."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_files(folder)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
    model.save_pretrained(folder)
    image_processor().save_pretrained(folder)
    return model


def aesthetic_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Saves a tiny CLIP image encoder with a head of linear layers in the same file; returns the head's weights."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=16)).save_pretrained(folder)
    image_processor().save_pretrained(folder)
    head = {"layers.0.weight": torch.randn(8, 16), "layers.0.bias": torch.randn(8)}
    head |= {"layers.2.weight": torch.randn(1, 8), "layers.2.bias": torch.randn(1)}
    save_file(load_file(folder / "model.safetensors") | head, folder / "model.safetensors", {"format": "pt"})
    return head


def bert_tokenizer_files(folder: Path) -> BertTokenizer:
    """A BERT tokenizer that knows a few words, as the files that BERT's have."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, "plain", "four", "squares"])}
    tokenizer = BertTokenizer(vocab=vocabulary)
    tokenizer.save_pretrained(folder)
    return tokenizer


def image_reward_weights(num_words: int, width: int = 128) -> dict[str, torch.Tensor]:
    """Random weights of a small ImageReward under the names of the published file, some that it does not use among
    them: two heads of 64 channels, two blocks and layers, pictures of SIDE."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inside: int, outside: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outside, inside), (outside,)

    eye, reader = "blip.visual_encoder", "blip.text_encoder"
    shapes[f"{eye}.cls_token"], shapes[f"{eye}.pos_embed"] = (1, 1, width), (1, 1 + (SIDE // 8) ** 2, width)
    shapes[f"{eye}.patch_embed.proj.weight"], shapes[f"{eye}.patch_embed.proj.bias"] = (width, 3, 8, 8), (width,)
    shapes[f"{reader}.embeddings.word_embeddings.weight"] = (num_words, width)
    shapes[f"{reader}.embeddings.position_embeddings.weight"] = (64, width)
    for block in (f"{eye}.blocks.{index}" for index in range(2)):
        linear(f"{block}.attn.qkv", width, 3 * width)
        linear(f"{block}.attn.proj", width, width)
        linear(f"{block}.mlp.fc1", width, 96)
        linear(f"{block}.mlp.fc2", 96, width)
    for layer in (f"{reader}.encoder.layer.{index}" for index in range(2)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{part}", width, width)
            linear(f"{layer}.crossattention.{part}", width, width)
        linear(f"{layer}.intermediate.dense", width, 96)
        linear(f"{layer}.output.dense", 96, width)
    for index, (inside, outside) in zip((0, 2, 4, 6, 7), pairwise((width, 32, 16, 8, 4, 1)), strict=True):
        linear(f"mlp.layers.{index}", inside, outside)
    linear("blip.vision_proj", width, 8)
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    norms = [f"{eye}.norm", *(f"{eye}.blocks.{index}.norm{norm}" for index in range(2) for norm in (1, 2))]
    norms += [f"{reader}.embeddings.LayerNorm"]
    for part in ("attention.output", "crossattention.output", "output"):
        norms += [f"{reader}.encoder.layer.{index}.{part}.LayerNorm" for index in range(2)]
    for norm in norms:
        weights[f"{norm}.weight"] = 1 + 0.1 * torch.randn(width, generator=generator)
        weights[f"{norm}.bias"] = 0.1 * torch.randn(width, generator=generator)
    return weights


def mask2former_folder(folder: Path, names: list[str]) -> None:
    """Saves a tiny Mask2Former with a Swin backbone that knows the classes of these names."""
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}, ignore_index=255).save_pretrained(folder)


def llava_folder(folder: Path) -> None:
    """Saves a tiny LLaVA with a tokenizer of a few words and a chat template."""
    torch.manual_seed(0)
    vocabulary = ["<unk>", "<s>", "</s>", "<image>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    template = (
        "{% for message in messages %}user {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    processor = LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=fast,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    text = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=text, image_token_index=3, image_seq_length=16
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)


QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}"
    "{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_PICTURES = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}
"""What preprocessor_config.json of Qwen2.5-VL says."""


def qwen_folder(folder: Path) -> None:
    """Saves a tiny Qwen2.5-VL in the files that the published ones have: one configuration for pictures and videos,
    the chat beside it, and a tokenizer of bytes that also knows yes and no as words."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    merges = [("y", "e"), ("ye", "s"), ("n", "o")]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges), "<|endoftext|>"]
    tokenizer = Qwen2Tokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges)
    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in names]})
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(QWEN_PICTURES), encoding="utf-8")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": QWEN_CHAT}), encoding="utf-8")
    place = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in (*names, "endoftext")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
        "bos_token_id": place["endoftext"],
        "eos_token_id": place["im_end"],
        "pad_token_id": place["endoftext"],
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision | {"fullatt_block_indexes": [1]},
        image_token_id=place["image_pad"],
        video_token_id=place["video_pad"],
        vision_start_token_id=place["vision_start"],
        vision_end_token_id=place["vision_end"],
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
