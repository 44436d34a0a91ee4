"""The arithmetic of docs/models.md for a card of 24 GB, from configurations alone."""

import re

import pytest
import torch
from project_tree import text_of
from transformers import CLIPTextConfig, T5Config

from app.recipes import load_recipe
from benchmarks.memory import expected, settings
from benchmarks.record import kept
from benchmarks.sd35_medium import save_configurations
from dgpo_core.models.memory import memory_of

SHARE = 0.15
"""How far the estimate may be off."""
RECIPE = "sd35m-pickscore-mode-1"
PAGE = text_of("docs/models.md")


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """What the lab's recipe takes with all three text encoders in their real sizes."""
    folder = save_configurations(tmp_path_factory.mktemp("sd35m"))
    for part, width, layers, heads in (("text_encoder", 768, 12, 12), ("text_encoder_2", 1280, 32, 20)):
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            architectures=["CLIPTextModelWithProjection"],
        ).save_pretrained(folder / part)
    T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    ).save_pretrained(folder / "text_encoder_3")
    return memory_of(load_recipe(RECIPE), folder, torch.bfloat16)


def told():
    """The gigabytes of the page's table by the first word of their row."""
    section = PAGE.split("A card of 24 GB")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {name: float(number) for name, _, number in rows[2:]}


@pytest.mark.slow
def test_a_card_of_24_gb_trains_stable_diffusion_3_5_medium_at_512_pixels(memory):
    foretold = {
        "frozen weights": memory.weights,
        "what is trained": memory.trained,
        "autoencoder": memory.autoencoder,
        "drawing": memory.drawing,
        "decoding": memory.decoding,
        "an update": memory.activations,
        "the most while training": memory.training,
        "while prompts are encoded": memory.encoding,
    }
    assert told() == {name: round(value / 1e9, 1) for name, value in foretold.items()}
    assert memory.peak < 24e9
    assert f"`{RECIPE}`" in PAGE


@pytest.mark.slow
def test_the_estimate_is_what_a_card_took():
    measured = kept("memory")
    foretold = expected(settings(RECIPE, measured["command"].split("--set ")[1:])).peak
    taken = measured["taken"]["allocated"]
    assert foretold == pytest.approx(taken, rel=SHARE)
    told = re.search(
        r"Measured on a card\*\* \((.*), torch.*?took ([\d.]+) GB at most; the estimate is ([\d.]+)", PAGE, re.DOTALL
    )
    assert told.groups() == (measured["card"], f"{taken / 1e9:.1f}", f"{foretold / 1e9:.1f}")
