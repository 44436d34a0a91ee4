"""ImageReward beside BLIP written out in plain torch, which the test also teaches two colours."""

import re

import numpy as np
import pytest
import torch
from project_tree import text_of
from safetensors.torch import load_file, save_file
from tiny_models import bert_tokenizer_files, image_processor, image_reward_weights
from torch.nn import functional

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.image_reward import TOKENIZER
from dgpo_core.rewards.image_statistics import colour_trials
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies

RED, BLUE = (trial.better for trial in colour_trials())
PROMPTS = [trial.prompt for trial in colour_trials()]
MODEL = REWARD_FACTS["imagereward"].weights


def attended(query, key, value, mask=None):
    """Attention with heads of 64 channels; mask is true where there is something to look at."""
    query, key, value = (one.unflatten(-1, (-1, 64)).transpose(1, 2) for one in (query, key, value))
    scores = query @ key.mT / 8
    scores = scores if mask is None else scores.masked_fill(~mask[:, None, None].bool(), -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def by_hand(weights, pixels, words):
    """ImageReward's score, from weights under the names that its authors published."""

    def linear(name, x):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, x, eps):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def looked(name, x, seen, mask):
        found = attended(
            linear(f"{name}.self.query", x), linear(f"{name}.self.key", seen), linear(f"{name}.self.value", seen), mask
        )
        return norm(f"{name}.output.LayerNorm", linear(f"{name}.output.dense", found) + x, 1e-12)

    eye, reader = "blip.visual_encoder", "blip.text_encoder"
    patch = weights[f"{eye}.patch_embed.proj.weight"]
    x = functional.conv2d(pixels, patch, weights[f"{eye}.patch_embed.proj.bias"], stride=patch.shape[-1])
    x = (
        torch.cat([weights[f"{eye}.cls_token"].expand(len(x), -1, -1), x.flatten(2).mT], 1)
        + weights[f"{eye}.pos_embed"]
    )
    for block in (f"{eye}.blocks.{index}" for index in range(2)):
        seen = attended(*linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x, 1e-6)).chunk(3, -1))
        x = x + linear(f"{block}.attn.proj", seen)
        x = x + linear(f"{block}.mlp.fc2", functional.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x, 1e-6))))
    seen, mask = norm(f"{eye}.norm", x, 1e-6), words["attention_mask"]
    y = weights[f"{reader}.embeddings.word_embeddings.weight"][words["input_ids"]]
    y = y + weights[f"{reader}.embeddings.position_embeddings.weight"][: y.shape[1]]
    y = norm(f"{reader}.embeddings.LayerNorm", y, 1e-12)
    for layer in (f"{reader}.encoder.layer.{index}" for index in range(2)):
        y = looked(f"{layer}.attention", y, y, mask)
        y = looked(f"{layer}.crossattention", y, seen, None)
        wide = functional.gelu(linear(f"{layer}.intermediate.dense", y))
        y = norm(f"{layer}.output.LayerNorm", linear(f"{layer}.output.dense", wide) + y, 1e-12)
    y = y[:, 0]
    for index in (0, 2, 4, 6, 7):
        y = linear(f"mlp.layers.{index}", y)
    return (y.squeeze(-1) - 0.16717362830052426) / 1.0333394966054072


def tokens(tokenizer, prompts):
    return tokenizer(prompts, padding="max_length", truncation=True, max_length=35, return_tensors="pt")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A models folder whose ImageReward has been taught red and blue."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = bert_tokenizer_files(root / TOKENIZER)
    weights = image_reward_weights(len(tokenizer))
    pixels = image_processor()(images=[RED, RED, BLUE, BLUE], return_tensors="pt")["pixel_values"]
    words, wanted = tokens(tokenizer, PROMPTS * 2), torch.tensor([2.0, -2.0, -2.0, 2.0])
    optimizer = torch.optim.Adam([one.requires_grad_() for one in weights.values()], lr=2e-3)
    for _ in range(30):
        optimizer.zero_grad()
        functional.mse_loss(by_hand(weights, pixels, words), wanted).backward()
        optimizer.step()
    (root / MODEL).mkdir(parents=True)
    save_file({name: one.detach() for name, one in weights.items()}, root / MODEL / "model.safetensors")
    return root


def reward_of(place):
    return new_reward("imagereward", Supplies(models_folder=str(place)))


def test_the_score_is_that_of_blip_written_out_by_hand(place):
    from transformers import BertTokenizer

    rng = np.random.default_rng(0)
    pictures = [RED, BLUE, *rng.integers(0, 256, (3, 40, 70, 3), dtype=np.uint8)]
    prompts = [*PROMPTS, "a picture", "", "red " * 60]
    scores = [one.reward for one in judge(reward_of(place), pictures, prompts)]
    pixels = image_processor()(images=pictures, return_tensors="pt")["pixel_values"]
    words = tokens(BertTokenizer.from_pretrained(place / TOKENIZER), prompts)
    with torch.no_grad():
        wanted = by_hand(load_file(place / MODEL / "model.safetensors"), pixels, words)
    assert scores == pytest.approx(wanted.tolist(), abs=1e-4)
    assert len(set(scores)) == 5


def test_one_that_knows_the_colours_passes_its_self_test(place):
    outcome = self_test(reward_of(place))
    assert outcome.passed, outcome.words


def test_one_that_was_taught_nothing_does_not(place, tmp_path):
    bert_tokenizer_files(tmp_path / TOKENIZER)
    (tmp_path / MODEL).mkdir(parents=True)
    weights = load_file(place / MODEL / "model.safetensors")
    weights["mlp.layers.7.weight"].zero_()
    save_file(weights, tmp_path / MODEL / "model.safetensors")
    assert not self_test(reward_of(tmp_path)).passed


def test_many_pictures_are_judged_as_one_by_one(place):
    pictures, prompts = [RED, BLUE] * 10, [PROMPTS[0], "picture"] * 10
    reward = reward_of(place)
    together = [one.reward for one in judge(reward, pictures, prompts)]
    assert together == pytest.approx(
        [judge(reward, [p], [q])[0].reward for p, q in zip(pictures, prompts, strict=True)], abs=1e-5
    )


def test_without_a_folder_it_is_said_that_nothing_can_be_fetched():
    with pytest.raises(RewardError, match=r"cannot be fetched: THUDM/ImageReward publishes a pickle.*docs/rewards\.md"):
        new_reward("imagereward")


def test_the_pickle_itself_is_refused(place, tmp_path):
    bert_tokenizer_files(tmp_path / TOKENIZER)
    (tmp_path / MODEL).mkdir(parents=True)
    torch.save(load_file(place / MODEL / "model.safetensors"), tmp_path / MODEL / "ImageReward.pt")
    with pytest.raises(RewardError, match="Only safetensors are read"):
        judge(reward_of(tmp_path), [RED], [""])


def test_the_line_in_the_docs_turns_the_pickle_into_what_is_read(place, tmp_path, monkeypatch):
    bert_tokenizer_files(tmp_path / TOKENIZER)
    (tmp_path / MODEL).mkdir(parents=True)
    stored = load_file(place / MODEL / "model.safetensors")
    counter = {"blip.text_encoder.embeddings.position_ids": torch.arange(64)[None]}
    torch.save(stored | counter, tmp_path / MODEL / "ImageReward.pt")
    monkeypatch.chdir(tmp_path / MODEL)
    exec(re.search(r'python -c "(.*ImageReward.*)"', text_of("docs/rewards.md"))[1], {})
    one, other = (judge(reward_of(root), [RED], [PROMPTS[0]])[0].reward for root in (place, tmp_path))
    assert one == pytest.approx(other, rel=1e-5)  # where the file lies in memory decides the last digit


def test_weights_of_another_model_are_refused_in_one_sentence(place, tmp_path):
    bert_tokenizer_files(tmp_path / TOKENIZER)
    (tmp_path / MODEL).mkdir(parents=True)
    save_file({"something.else": torch.zeros(1)}, tmp_path / MODEL / "model.safetensors")
    with pytest.raises(RewardError, match="The reward imagereward cannot load its model from"):
        judge(reward_of(tmp_path), [RED], [""])
