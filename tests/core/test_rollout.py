import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import PROMPTS

from dgpo_core.config import RolloutConfig
from dgpo_core.events import Stop
from dgpo_core.examination import spread_over
from dgpo_core.rollout import draw_groups, prompts_of_step, starting_noise
from dgpo_core.seeds import seed_of


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_every_prompt_comes_up_once_in_each_lap(num_prompts, count, run_seed):
    prompts = [f"prompt {index}" for index in range(num_prompts)]
    drawn = []
    for step in range(-(-3 * num_prompts // count)):
        drawn += prompts_of_step(prompts, step=step, count=count, run_seed=run_seed)
    for lap in range(3):
        assert sorted(drawn[lap * num_prompts : (lap + 1) * num_prompts]) == sorted(prompts)


def test_the_prompts_of_a_step_are_a_pure_function():
    prompts = [f"prompt {index}" for index in range(50)]
    known = {"count": 6, "run_seed": 3}
    later = prompts_of_step(prompts, step=1234, **known)
    before = torch.get_rng_state()
    for step in range(5):
        prompts_of_step(prompts, step=step, **known)
    assert prompts_of_step(prompts, step=1234, **known) == later
    assert torch.equal(torch.get_rng_state(), before)
    assert prompts_of_step(prompts, step=1234, count=6, run_seed=4) != later


def test_laps_come_in_different_orders():
    prompts = [f"prompt {index}" for index in range(20)]
    laps = {prompts_of_step(prompts, step=lap, count=20, run_seed=0) for lap in range(5)}
    assert len(laps) == 5


def test_the_prompts_of_a_step_are_drawn_quickly_from_a_long_list():
    prompts = [str(index) for index in range(100_000)]
    assert len(set(prompts_of_step(prompts, step=10_000, count=512, run_seed=0))) == 512


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (6, list(range(6))), (99, list(range(6))), (0, []), (-1, [])],
)
def test_examined_prompts_are_spread_over_the_list(count, expected):
    assert spread_over([str(index) for index in range(6)], count) == [str(index) for index in expected]


def test_groups_are_group_major_and_every_member_starts_from_its_seed(model):
    config = RolloutConfig(group_size=3, num_sampling_steps=1)
    rollout = draw_groups(model, tuple(PROMPTS[:2]), config, run_seed=5, step=7, batch=4)
    assert rollout.prompt_per_picture == [PROMPTS[0]] * 3 + [PROMPTS[1]] * 3
    assert rollout.seeds == tuple(seed_of(5, "picture", 7, group, member) for group in (0, 1) for member in (0, 1, 2))
    noise = starting_noise(rollout.seeds, model.latent_shape, model.device)
    with torch.no_grad():
        conditioning = model.encode(rollout.prompt_per_picture)
        clean = noise - model.velocity(noise, torch.tensor(1.0), conditioning)
    torch.testing.assert_close(rollout.clean, clean, atol=1e-5, rtol=0)
    assert not rollout.clean.requires_grad
    assert len(rollout.pictures) == 6


def test_a_rollout_can_be_stopped_before_any_denoising_step(model):
    config = RolloutConfig(group_size=2, num_sampling_steps=3)
    announced = []

    def on_step(index, total):
        announced.append((index, total))
        if len(announced) == 5:
            raise InterruptedError(Stop())

    with pytest.raises(InterruptedError):
        draw_groups(model, tuple(PROMPTS[:3]), config, run_seed=0, step=0, batch=2, on_step=on_step)
    assert announced == [(0, 3), (1, 3), (2, 3), (0, 3), (1, 3)]
    assert all(one.requires_grad for one in model.policy_parameters().values())
