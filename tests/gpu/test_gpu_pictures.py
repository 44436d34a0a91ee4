"""The same noise and prompts give the same pictures on a CPU and on a GPU."""

import numpy as np
import pytest
import torch
from project_tree import ROOT

from dgpo_core.config import RolloutConfig
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.rollout import draw_latents, starting_noise

LEVELS = 2
"""Of 255, by which any value of a picture may differ where both compute in float32."""
PROMPTS = ["a red circle", "a blue square", "three rings", "a cross above a diamond"]


def drawn(device, dtype, **changes):
    """Pictures of the model that ships, as numbers that can be subtracted."""
    model = SD3Model.load(ROOT / "assets/shapes-sd3", lora_rank=1, lora_alpha=1, seed=0, device=device, dtype=dtype)
    noise = starting_noise(range(len(PROMPTS)), model.latent_shape, model.device)
    with model.drawing():
        latents = draw_latents(model, model.encode(PROMPTS), noise, RolloutConfig(**changes), batch=len(PROMPTS))
    return np.stack(model.decode(latents)).astype(int)


def apart(one, other):
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("changes", [{}, {"sampler": "dpmpp_2m", "guidance_scale": 4.5}], ids=["plain", "guided"])
def test_in_float32_no_value_is_further_off_than_rounding(changes):
    on_cpu, on_gpu = (drawn(device, torch.float32, **changes) for device in ("cpu", "cuda"))
    assert on_cpu.std() > 10  # there is something in the pictures
    assert np.abs(on_cpu - on_gpu).max() <= LEVELS


def test_in_bfloat16_a_gpu_rounds_no_worse_than_twice_a_cpu():
    exact = drawn("cpu", torch.float32)
    assert 0 < apart(drawn("cuda", torch.bfloat16), exact) <= 2 * apart(drawn("cpu", torch.bfloat16), exact)
