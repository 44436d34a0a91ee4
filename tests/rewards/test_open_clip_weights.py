"""OpenCLIP written out in plain torch, and its weights turned into those that the CLIP rewards read."""

import re
import runpy
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from project_tree import text_of
from safetensors.torch import load_file
from tiny_models import SIDE, clip_folder, image_processor, tokenizer_files
from torch import nn

from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.supplies import Supplies

WIDTH, SPACE, PATCH = 32, 16, 8
LINE = re.compile(r"python -m (dgpo_core\.rewards\.open_clip_weights) (\S+) (\S+)")


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        wide, narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.mlp = nn.Sequential(OrderedDict(c_fc=wide, gelu=QuickGelu(), c_proj=narrow))

    def forward(self, x, mask=None):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.resblocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(1 + (SIDE // PATCH) ** 2, WIDTH))
        self.ln_pre, self.transformer, self.ln_post = nn.LayerNorm(WIDTH), Transformer(), nn.LayerNorm(WIDTH)
        self.proj = nn.Parameter(torch.randn(WIDTH, SPACE))

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).mT
        first = self.class_embedding.expand(len(patches), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """A small CLIP with the parts, and so the names of weights, that OpenCLIP's has."""

    def __init__(self, num_words):
        super().__init__()
        self.visual, self.transformer, self.ln_final = Visual(), Transformer(), nn.LayerNorm(WIDTH)
        self.token_embedding = nn.Embedding(num_words, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(77, WIDTH))
        self.text_projection = nn.Parameter(torch.randn(WIDTH, SPACE))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))
        self.register_buffer("attn_mask", torch.full((77, 77), -torch.inf).triu(1))

    def cosines(self, pixels, tokens):
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, self.attn_mask[:length, :length]))
        last = (tokens == 1).int().argmax(1)
        text = x[torch.arange(len(x)), last] @ self.text_projection
        return nn.functional.cosine_similarity(self.visual(pixels), text)


@pytest.fixture(scope="module")
def open_clip():
    torch.manual_seed(0)
    model = OpenClip(num_words=190).eval()
    for name, one in model.named_parameters():
        if one.ndim == 1 and "class" not in name:
            nn.init.normal_(one, 1.0 if ".ln_" in name or name.startswith("ln_") else 0.0, 0.2)
    return model


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_the_line_in_the_docs_makes_a_checkpoint_score_as_openclip_scores(open_clip, is_wrapped, tmp_path, monkeypatch):
    folder = tmp_path / REWARD_FACTS["hpsv2"].weights
    before = set(clip_folder(folder).state_dict())
    module, checkpoint, target = LINE.search(text_of("docs/rewards.md")).groups()
    weights = open_clip.state_dict()
    torch.save({"epoch": 1, "state_dict": weights} if is_wrapped else weights, folder / checkpoint)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [module, checkpoint, target])
    runpy.run_module(module, run_name="__main__")
    assert set(load_file(folder / target)) == before, "nothing is left to chance, nothing is left over"
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8))
    prompts = ["a red dog", "", "a photo of two cats", "blue"]
    scores = [
        one.reward for one in judge(new_reward("hpsv2", Supplies(models_folder=str(tmp_path))), pictures, prompts)
    ]
    pixels = image_processor()(images=pictures, return_tensors="pt")["pixel_values"]
    tokens = tokenizer_files(folder)(prompts, padding=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        wanted = open_clip.cosines(pixels, tokens)
    assert scores == pytest.approx(wanted.tolist(), abs=1e-5)
    assert len(set(scores)) == 4
