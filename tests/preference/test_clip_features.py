"""Features by a CLIP folder of the user's choice, on a small CLIP with random weights."""

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from base_model.pipeline import NUM_TOKENS, shapes_tokenizer
from dgpo_core.assembly import preference_features
from dgpo_core.config import from_dict
from dgpo_core.errors import RewardError
from dgpo_core.preference.clip_features import ClipFeatures
from dgpo_core.preference.picture_features import NUM_SEEN

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
WIDTH = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    into = tmp_path_factory.mktemp("clip")
    tokenizer = shapes_tokenizer()
    text = CLIPTextConfig(
        **SMALL,
        vocab_size=len(tokenizer),
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    vision = CLIPVisionConfig(**SMALL, image_size=32, patch_size=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
        CLIPModel(config).save_pretrained(into)
    tokenizer.save_pretrained(into)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(into)
    return into


def test_a_picture_is_an_embedding_and_its_nearness_to_the_prompt(folder):
    features = ClipFeatures(folder)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    found = features([*pictures, pictures[0]], ["a ring", "a ring", "a cross"])
    assert found.shape == (3, len(features.weights())) == (3, NUM_SEEN + WIDTH + 1)
    embedded, nearness = found[:, NUM_SEEN:-1], found[:, -1]
    assert torch.allclose(embedded.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(embedded[0], embedded[2], atol=1e-5)
    assert not torch.allclose(embedded[0], embedded[1], atol=1e-3)
    assert (nearness.abs() <= 1).all()
    assert nearness[0] != nearness[2]


def test_the_settings_choose_between_clip_and_the_pipelines_own_encoders(folder, model):
    kinds = [
        preference_features(from_dict({"people": {"clip_folder": name}}), model).kind for name in ("", str(folder))
    ]
    assert kinds == ["pipeline with things", "clip with things"]


def test_a_folder_without_a_clip_model_is_refused(tmp_path):
    with pytest.raises(RewardError, match=r"There is no CLIP model in .*people\.clip_folder empty"):
        ClipFeatures(tmp_path)
