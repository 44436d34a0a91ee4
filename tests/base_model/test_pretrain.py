import json
from itertools import count

import pytest
import torch
from safetensors.torch import load_file

from base_model.autoencoder import new_autoencoder
from base_model.mean import TRAINED
from base_model.pretrain import Plan, Pretraining, Progress, learning_rate_factor


@pytest.fixture
def work(tmp_path):
    torch.manual_seed(0)
    autoencoder = new_autoencoder()
    autoencoder.register_to_config(shift_factor=0.0, scaling_factor=1.0)
    autoencoder.save_pretrained(tmp_path / "vae")
    return tmp_path


def six_seconds_a_step():
    """A clock that moves only when it is read, as a step does before and after."""
    return count(step=6.0).__next__


def logged(folder):
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_training_that_is_cut_short_goes_on_where_it_was(work, monkeypatch):
    monkeypatch.setattr("base_model.pretrain.STEPS_PER_LOG", 1)
    monkeypatch.setattr("base_model.learner.Learner.compile_blocks", lambda self: None)
    for minutes in (0.2, 0.5):
        Pretraining(work, Plan(minutes, pictures=32, batch=8), six_seconds_a_step()).train()
    rows = logged(work)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["pictures"] for row in rows] == [8, 16, 24, 32, 40]
    assert [row["minutes"] for row in rows] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    saved = torch.load(work / "truth.pt", weights_only=True)
    assert saved["learner"].keys() == saved["averaged"].keys()
    assert saved["progress"]["step"] == len(rows)
    moved = [name for name, one in saved["learner"].items() if not torch.equal(one, saved["averaged"][name])]
    assert len(moved) > 100


@pytest.mark.slow
def test_training_lowers_both_losses(work, monkeypatch):
    monkeypatch.setattr("base_model.pretrain.STEPS_PER_LOG", 20)
    monkeypatch.setattr("base_model.learner.Learner.compile_blocks", lambda self: None)
    Pretraining(work, Plan(minutes=6, pictures=32, batch=16), six_seconds_a_step()).train()
    first, *_, last = logged(work)
    assert (first["step"], last["step"]) == (20, 60)
    assert last["flow_loss"] < 0.8 * first["flow_loss"]
    assert last["naming_loss"] < 0.8 * first["naming_loss"]


def test_the_rate_warms_up_holds_and_falls_to_nothing():
    factors = [
        learning_rate_factor(Progress(step, minutes), 10.0) for step, minutes in ((0, 0.0), (500, 5.0), (900, 8.5))
    ]
    assert factors == [0.01, 1.0, pytest.approx(0.5)]
    assert learning_rate_factor(Progress(900, 10.0), 10.0) == 0


@pytest.mark.slow
def test_what_comes_out_is_a_pipeline_that_the_next_training_can_start_from(work, monkeypatch):
    monkeypatch.setattr("base_model.learner.Learner.compile_blocks", lambda self: None)
    first = Pretraining(work, Plan(0.001, pictures=16, batch=4))
    first.train()
    first.save_pipeline(work / "truth")
    second = Pretraining(work / "guided", Plan(0.001, start=work / "truth", guidance=2.0, pictures=16, batch=4))
    second.save_pipeline(work / "again")
    one, other = (load_file(work / name / TRAINED[0]) for name in ("truth", "again"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    second.train()
    second.save_pipeline(work / "guided")
    moved = load_file(work / "guided" / TRAINED[0])
    assert any(not torch.equal(one[name], moved[name]) for name in one)
