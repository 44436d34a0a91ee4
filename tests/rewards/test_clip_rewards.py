"""CLIP-based rewards on a tiny CLIP, which the test teaches two colours."""

import numpy as np
import pytest
import torch
from documented_range import keeps_to_its_range
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import aesthetic_folder, clip_folder, image_processor, tokenizer_files

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies

RED, BLUE = (np.tile(np.array(color, np.uint8), (40, 40, 1)) for color in ((210, 30, 30), (20, 30, 200)))
PROMPTS = ["a plain red picture", "a plain blue picture"]
NAMES = ("clipscore", "pickscore", "hpsv2")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder of models in which all CLIP rewards know red from blue, as far as the tiny one can learn it."""
    root = tmp_path_factory.mktemp("models")
    folder = root / REWARD_FACTS["clipscore"].weights
    model = clip_folder(folder)
    shades = [
        (np.array(color) + spread).clip(0, 255) for spread in (-20, 0, 20) for color in ((210, 30, 30), (20, 30, 210))
    ]
    pictures = [Image.fromarray(np.tile(shade.astype(np.uint8), (40, 40, 1))) for shade in shades]
    pixels = image_processor()(images=pictures, return_tensors="pt")["pixel_values"]
    words = tokenizer_files(folder)(PROMPTS, padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        scores = model(pixel_values=pixels, **words).logits_per_image
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1] * 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    for name in NAMES[1:]:
        other = root / REWARD_FACTS[name].weights
        other.parent.mkdir(parents=True, exist_ok=True)
        other.symlink_to(folder)
    return Supplies(models_folder=str(root))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_scores_higher_for_its_own_prompt_and_the_self_test_passes(taught, name):
    reward = new_reward(name, taught)
    matrix = np.array([[one.reward for one in judge(reward, [RED, BLUE], [prompt] * 2)] for prompt in PROMPTS])
    assert (matrix.diagonal() > np.fliplr(matrix).diagonal()).all()
    assert keeps_to_its_range(name, matrix.flatten())
    assert self_test(reward).passed


def test_scales_are_those_of_the_papers(taught):
    values = {name: judge(new_reward(name, taught), [RED], PROMPTS[:1])[0].reward for name in NAMES}
    assert values["pickscore"] == pytest.approx(100 * values["hpsv2"], rel=1e-5)
    assert values["clipscore"] == pytest.approx(2.5 * max(0, values["hpsv2"]), rel=1e-5)
    wrong = judge(new_reward("clipscore", taught), [RED], PROMPTS[1:])[0].reward
    assert wrong >= 0


def test_a_batch_is_judged_as_one_by_one_and_long_prompts_are_cut(taught):
    pictures, prompts = [RED, BLUE] * 10, [*PROMPTS, "a long prompt " * 50, ""] * 5
    reward = new_reward("clipscore", taught)
    together = [one.reward for one in judge(reward, pictures, prompts)]
    alone = [judge(reward, [p], [q])[0].reward for p, q in zip(pictures, prompts, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_model_that_cannot_tell_fails_its_self_test(tmp_path):
    folder = tmp_path / REWARD_FACTS["clipscore"].weights
    model = clip_folder(folder)
    with torch.no_grad():
        model.visual_projection.weight.zero_()
    model.save_pretrained(folder)
    outcome = self_test(new_reward("clipscore", Supplies(models_folder=str(tmp_path))))
    assert not outcome.passed
    assert outcome.words.startswith("clipscore puts 0 of 2 good pictures above")


def test_a_model_that_is_not_there_is_said_with_its_place(tmp_path):
    with pytest.raises(RewardError, match=r"reward\.models_folder holds no openai/clip-vit-large-patch14: there is no"):
        new_reward("clipscore", Supplies(models_folder=str(tmp_path)))
    (tmp_path / "openai" / "clip-vit-large-patch14").mkdir(parents=True)
    reward = new_reward("clipscore", Supplies(models_folder=str(tmp_path)))
    with pytest.raises(RewardError, match="The reward clipscore cannot load its model from"):
        judge(reward, [RED], [""])


def test_pickled_weights_are_refused(tmp_path):
    folder = tmp_path / REWARD_FACTS["clipscore"].weights
    clip_folder(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(RewardError, match="Only safetensors are read"):
        judge(new_reward("clipscore", Supplies(models_folder=str(tmp_path))), [RED], [""])


def test_the_aesthetic_mark_is_the_head_on_the_normalised_embedding(tmp_path):
    from transformers import CLIPVisionModelWithProjection

    folder = tmp_path / REWARD_FACTS["aesthetic"].weights
    head = aesthetic_folder(folder)
    marks = [
        one.reward
        for one in judge(new_reward("aesthetic", Supplies(models_folder=str(tmp_path))), [RED, BLUE], ["", ""])
    ]
    encoder = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    pixels = image_processor()(images=[Image.fromarray(one) for one in (RED, BLUE)], return_tensors="pt")
    with torch.no_grad():
        embedding = torch.nn.functional.normalize(encoder(**pixels).image_embeds, dim=-1)
    hidden = embedding @ head["layers.0.weight"].T + head["layers.0.bias"]
    wanted = hidden @ head["layers.2.weight"].T + head["layers.2.bias"]
    assert marks == pytest.approx(wanted.flatten().tolist(), abs=1e-4)
    assert marks[0] != marks[1]


def clean_and_noise(seed, count):
    """Pictures of plain patches, and of as many of noise, that the self-test does not have."""
    rng = np.random.default_rng(seed)
    clean = [np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8) for _ in range(count)]
    return clean, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(count)]


def taught_head(folder, head):
    """The head after it was shown clean pictures of mark 8 and noise of mark 2, with the encoder in the folder."""
    from transformers import CLIPVisionModelWithProjection

    encoder = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    shown = [Image.fromarray(one) for half in clean_and_noise(0, 64) for one in half]
    with torch.no_grad():
        seen = encoder(**image_processor()(images=shown, return_tensors="pt")).image_embeds
    seen, marks = torch.nn.functional.normalize(seen, dim=-1), torch.tensor([8.0] * 64 + [2.0] * 64)
    first, last = ([head[f"layers.{n}.{one}"].requires_grad_() for one in ("weight", "bias")] for n in (0, 2))
    optimizer = torch.optim.Adam([*first, *last], lr=0.03)
    for _ in range(200):
        hidden = torch.nn.functional.linear(seen, *first)
        loss = (torch.nn.functional.linear(hidden, *last).squeeze(-1) - marks).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: one.detach() for name, one in head.items()}


def test_an_aesthetic_head_that_was_taught_tells_clean_pictures_from_noise_and_one_turned_round_fails(tmp_path):
    folder = tmp_path / REWARD_FACTS["aesthetic"].weights
    head = taught_head(folder, aesthetic_folder(folder))
    file, supplies = folder / "model.safetensors", Supplies(models_folder=str(tmp_path))
    save_file(load_file(file) | head, file, {"format": "pt"})
    clean, noise = (
        [one.reward for one in judge(new_reward("aesthetic", supplies), pictures, [""] * 8)]
        for pictures in clean_and_noise(1, 8)
    )
    assert 1 <= min(*clean, *noise) <= max(*clean, *noise) <= 10, "where REWARD_FACTS says that marks mostly lie"
    assert np.greater.outer(clean, noise).mean() > 0.85, "share of all pairs; the encoder has random weights"
    assert self_test(new_reward("aesthetic", supplies)).passed
    save_file(load_file(file) | {name: -one for name, one in head.items() if ".2." in name}, file, {"format": "pt"})
    assert not self_test(new_reward("aesthetic", supplies)).passed


def test_an_aesthetic_head_of_another_shape_is_refused(tmp_path):
    folder = tmp_path / REWARD_FACTS["aesthetic"].weights
    aesthetic_folder(folder)
    weights = {name: one for name, one in load_file(folder / "model.safetensors").items() if "layers.2" not in name}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RewardError, match=r"The head of aesthetic must be .*its weights are 0\.bias, 0\.weight\."):
        judge(new_reward("aesthetic", Supplies(models_folder=str(tmp_path))), [RED], [""])
