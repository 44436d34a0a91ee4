import json

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


@pytest.mark.slow
def test_training_that_is_cut_short_goes_on_where_it_was(work, monkeypatch):
    monkeypatch.setattr("base_model.pretrain.STEPS_PER_LOG", 1)
    monkeypatch.setattr("base_model.learner.Learner.compile_blocks", lambda self: None)
    for minutes in (0.02, 0.04):
        Pretraining(work, Plan(minutes, pictures=32, batch=8)).train()
    rows = [json.loads(line) for line in (work / "truth.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["pictures"] for row in rows] == [8 * row["step"] for row in rows]
    assert rows[-1]["minutes"] >= 0.04
    saved = torch.load(work / "truth.pt", weights_only=True)
    assert saved["learner"].keys() == saved["averaged"].keys()
    assert saved["progress"]["step"] == len(rows)
    moved = [name for name, one in saved["learner"].items() if not torch.equal(one, saved["averaged"][name])]
    assert len(moved) > 100


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
