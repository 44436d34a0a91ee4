"""The memory that is foretold beside the most that a whole run holds, counted tensor by tensor."""

import pytest
import torch
from mid_size import save_mid_size_pipeline
from small_model import small_autoencoder
from small_run import run, small_config, small_parts

from dgpo_core.models.high_water import HighWater
from dgpo_core.models.memory import memory_of
from dgpo_core.models.sd3 import SD3Model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    vae = small_autoencoder(4, 128, use_quant_conv=False, use_post_quant_conv=False)
    place = tmp_path_factory.mktemp("mid-size")
    return save_mid_size_pipeline(place, vae, width=192, num_layers=2, latent_side=16)


IN_PIECES = {"update": {"micro_batch": 4, "per_sigma": False}, "loss": {"kl_weight": 0.01, "num_sigmas": 2}}
WHOLE_GROUPS = {"update": {"micro_batch": 8, "per_sigma": True}, "loss": {"kl_weight": 0.0, "num_sigmas": 1}}


@pytest.mark.parametrize(
    ("kind", "checkpointing"),
    [(IN_PIECES, True), (IN_PIECES, False), (WHOLE_GROUPS, False)],
    ids=["pieces, checkpointed", "pieces", "whole groups"],
)
def test_a_run_takes_what_is_foretold(folder, tmp_path, kind, checkpointing):
    config = small_config(
        model={"folder": str(folder), "lora_rank": 16, "lora_alpha": 16, "checkpointing": checkpointing},
        rollout={"groups_per_step": 1, "group_size": 8, "num_sampling_steps": 1},
        schedule={"num_steps": 2, "evaluation_prompts": 1},  # the second keeps Adam's moments to come back to
        **kind,
    )
    foretold = memory_of(config, folder, torch.bfloat16)
    model = SD3Model.from_folder(folder, config.model, seed=0, dtype=torch.bfloat16)
    parts = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    held = [one for part in parts for one in (*part.parameters(), *part.buffers())]
    with HighWater(held) as water:
        run(config, small_parts(model, tmp_path, config))
    assert foretold.peak == pytest.approx(sum(one.nbytes for one in held) + water.most, rel=0.15)


def test_high_water_is_the_most_at_one_time():
    weight = torch.zeros(100)
    with HighWater([weight]) as water:
        first = torch.ones(10)
        view, doubled = first[:5], weight * 2
        assert (water.now, water.most) == (440, 440)
        del doubled
        other = torch.ones(20)
        assert (water.now, water.most) == (120, 440)
        del first
        assert water.now == 120  # its view keeps it
        del view, other
        assert (water.now, water.most) == (0, 440)
