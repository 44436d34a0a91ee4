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
def test_it_learns_for_a_step_and_examines_before_and_after(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "argv", [str(PAGE), "1", "2"])
    with torch.random.fork_rng(devices=[]):  # the page seeds the global generator
        runpy.run_module("examples.one_page_dgpo", run_name="__main__")
    said = capsys.readouterr().out
    scores = [float(score) for score in re.findall(r"held-out score of the (?:base|policy): ([\d.]+)", said)]
    assert len(scores) == 2
    assert all(0.3 < score <= 1 for score in scores)
    assert re.search(r"step 0: reward 0\.\d+, gate after the last update's look 0\.\d+", said)
