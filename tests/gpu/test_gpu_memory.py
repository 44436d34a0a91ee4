"""The memory that is foretold beside what a GPU's allocator says a whole run took."""

import re

import pytest
import torch
from diffusers import AutoencoderKL
from lab_folder import lab_config, opened
from mid_size import save_mid_size_pipeline
from small_run import run, small_config, small_parts

from app.reckoning import gpu_peak
from benchmarks.sd35_medium import AUTOENCODER
from dgpo_core.models.memory import memory_of
from dgpo_core.models.sd3 import SD3Model

ROOM = 14e9
SHARE = 0.15
"""How far the estimate may be off."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nearly half a billion weights, pictures of 512 x 512, and Stable Diffusion 3's autoencoder in its real size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(**AUTOENCODER)
    place = tmp_path_factory.mktemp("half-a-billion")
    return save_mid_size_pipeline(place, vae, width=1024, num_layers=12, latent_side=64, device="cuda")


AS_THE_RECIPE = {
    "model": {"checkpointing": True, "text_encoders": "offload"},
    "update": {"micro_batch": 4, "per_sigma": False},
    "loss": {"kl_weight": 0.01, "num_sigmas": 2},
}
PLAIN = {"model": {}, "update": {"micro_batch": 4}, "loss": {"num_sigmas": 1}, "rollout": {"group_size": 4}}


@pytest.mark.parametrize("kind", [AS_THE_RECIPE, PLAIN], ids=["as the recipe", "plain"])
def test_a_run_takes_what_is_foretold(folder, tmp_path, kind):
    if torch.cuda.mem_get_info()[0] < ROOM:
        pytest.skip(f"needs {ROOM / 1e9:.0f} GB of a GPU's memory, and less is free")
    size = {"groups_per_step": 2, "group_size": 8, "num_sampling_steps": 2} | kind.get("rollout", {})
    model_settings = {"folder": str(folder), "lora_rank": 64, "lora_alpha": 64} | kind["model"]
    config = small_config(
        model=model_settings,
        rollout=size,
        update=kind["update"],
        loss=kind["loss"],
        schedule={"num_steps": 2, "evaluation_prompts": 1},  # the second keeps Adam's moments to come back to
    )
    foretold = memory_of(config, folder, torch.bfloat16)
    held_by_others = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    model = SD3Model.from_folder(folder, config.model, seed=0, device="cuda")
    parts = small_parts(model, tmp_path, config)
    model.prepare([*parts.train_prompts, *parts.heldout_prompts, ""])
    run(config, parts)
    taken = torch.cuda.max_memory_allocated() - held_by_others
    assert foretold.peak == pytest.approx(taken, rel=SHARE)


def test_the_peak_is_that_of_a_run_alone():
    held = torch.zeros(50_000_000, dtype=torch.uint8, device="cuda")
    peak = gpu_peak()
    gone = torch.zeros(200_000_000, dtype=torch.uint8, device="cuda")
    del gone
    kept = torch.zeros(30_000_000, dtype=torch.uint8, device="cuda")
    taken, pool = peak()
    assert taken == pytest.approx(200e6, rel=0.02)  # the allocator gives out whole blocks
    assert pool >= taken + held.nbytes
    assert kept.nbytes < taken


def test_a_run_of_the_lab_says_in_its_diary_what_it_took(folder, tmp_path):
    if torch.cuda.mem_get_info()[0] < ROOM:
        pytest.skip(f"needs {ROOM / 1e9:.0f} GB of a GPU's memory, and less is free")
    config = lab_config(
        tmp_path,
        folder,
        model={"folder": str(folder), "lora_rank": 64, "lora_alpha": 64} | AS_THE_RECIPE["model"],
        rollout={"groups_per_step": 2, "group_size": 8, "num_sampling_steps": 2},
        update=AS_THE_RECIPE["update"],
        loss=AS_THE_RECIPE["loss"],
        schedule={"num_steps": 2, "evaluation_prompts": 1},
    )
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, reader):
        run_id = runner.start(config)
        assert runner.wait(600)
        lines = [(row.step, row.message) for row in reader.diary(run_id) if row.kind == "memory"]
    assert [step for step, _ in lines] == [0, 2]
    gigabytes = [float(number) for number in re.findall(r"([\d.]+) GB", lines[-1][1])]
    taken, foretold, pool = gigabytes
    assert foretold == pytest.approx(taken, rel=SHARE)
    assert pool >= taken > 1
