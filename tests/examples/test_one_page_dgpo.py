"""The page runs as it stands; what it says of itself is what it does."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "examples" / "one_page_dgpo.py"


def test_it_is_one_page():
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 110


@pytest.mark.slow
def test_it_learns_what_the_rewards_prefer_and_examines_before_and_after(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "argv", [str(PAGE), "2", "2"])
    with torch.random.fork_rng(devices=[]):  # the page seeds the global generator
        left = runpy.run_module("examples.one_page_dgpo", run_name="__main__")
    said = capsys.readouterr().out
    scores = [float(score) for score in re.findall(r"held-out score of the (?:base|policy): ([\d.]+)", said)]
    assert len(scores) == 2
    assert all(0.3 < score <= 1 for score in scores)
    assert len(re.findall(r"reward 0\.\d+, mean gate at the last noise level [01]\.\d+", said)) == 2
    # After its updates, at the very noise they were made with, the policy lies nearer to what is preferred.
    with torch.no_grad():
        moves = torch.stack([left["errors"](*level) for level in left["levels"]]) - torch.stack(left["old"])
    assert (left["advantage"] * moves).mean() < 0
    moved = [weight for name, weight in left["pipe"].transformer.named_parameters() if "lora_B" in name]
    assert moved
    assert any(weight.abs().max() > 0 for weight in moved)
