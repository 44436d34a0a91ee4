from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import PROMPTS

from dgpo_core.assembly import category_of
from dgpo_core.baselines.flow_grpo import TRANSITIONS, log_probability
from dgpo_core.config import STOCHASTIC_SAMPLERS, RolloutConfig
from dgpo_core.data.prompts import load_prompts
from dgpo_core.events import Stop
from dgpo_core.examination import spread_over
from dgpo_core.rollout import draw_groups, draw_latents, of_step, starting_noise
from dgpo_core.seeds import seed_of


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_every_prompt_comes_up_once_in_each_lap(num_prompts, count, run_seed):
    prompts = [f"prompt {index}" for index in range(num_prompts)]
    drawn = []
    for step in range(-(-3 * num_prompts // count)):
        drawn += of_step(prompts, step=step, count=count, run_seed=run_seed)
    for lap in range(3):
        assert sorted(drawn[lap * num_prompts : (lap + 1) * num_prompts]) == sorted(prompts)


def test_the_prompts_of_a_step_are_a_pure_function():
    prompts = [f"prompt {index}" for index in range(50)]
    known = {"count": 6, "run_seed": 3}
    later = of_step(prompts, step=1234, **known)
    before = torch.get_rng_state()
    for step in range(5):
        of_step(prompts, step=step, **known)
    assert of_step(prompts, step=1234, **known) == later
    assert torch.equal(torch.get_rng_state(), before)
    assert of_step(prompts, step=1234, count=6, run_seed=4) != later


def test_laps_come_in_different_orders():
    prompts = [f"prompt {index}" for index in range(20)]
    laps = {of_step(prompts, step=lap, count=20, run_seed=0) for lap in range(5)}
    assert len(laps) == 5


def test_the_prompts_of_a_step_are_drawn_quickly_from_a_long_list():
    prompts = [str(index) for index in range(100_000)]
    assert len(set(of_step(prompts, step=10_000, count=512, run_seed=0))) == 512


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (6, list(range(6))), (99, list(range(6))), (0, []), (-1, [])],
)
def test_examined_prompts_are_spread_over_the_list(count, expected):
    assert spread_over([str(index) for index in range(6)], count, lambda _: "all") == [str(index) for index in expected]


@pytest.mark.parametrize("count", [6, 12, 60, 100, 300])
def test_every_category_has_its_share_of_an_examination_though_they_take_turns_in_the_list(count):
    prompts = load_prompts("shapes-heldout")
    chosen = spread_over(prompts, count, category_of)
    shares = Counter(category_of(prompt) for prompt in chosen)
    assert len(chosen) == len(set(chosen)) == count
    assert len(shares) == 6
    assert max(shares.values()) - min(shares.values()) <= 1


def test_a_category_with_few_prompts_gives_all_and_the_others_more():
    prompts = ["rare", *[f"common {index}" for index in range(9)]]
    chosen = spread_over(prompts, 5, lambda prompt: prompt.split()[0])
    assert chosen == ["rare", "common 0", "common 2", "common 4", "common 6"]


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


STOCHASTIC = RolloutConfig(group_size=2, num_sampling_steps=3, sampler="flow_sde", noise_level=0.7)


def test_paths_with_noise_are_kept_and_end_in_the_pictures(model):
    rollout = draw_groups(model, tuple(PROMPTS[:2]), STOCHASTIC, run_seed=5, step=7, batch=3)
    assert torch.equal(rollout.path.points[0], starting_noise(rollout.seeds, model.latent_shape, model.device))
    assert torch.equal(rollout.path.clean, rollout.clean)
    assert len(rollout.path.points) == len(rollout.path.sigmas) == len(rollout.path.log_probabilities) + 1 == 4
    assert (rollout.path.log_probabilities[-1] == 0).all()


def test_a_path_with_noise_depends_on_its_own_seed_and_not_on_its_batch(model):
    one, other = (draw_groups(model, tuple(PROMPTS[:2]), STOCHASTIC, run_seed=5, step=7, batch=n) for n in (1, 4))
    torch.testing.assert_close(one.clean, other.clean, atol=1e-5, rtol=0)
    assert len({picture.numpy().tobytes() for picture in one.clean}) == 4
    straight = draw_groups(model, tuple(PROMPTS[:2]), replace(STOCHASTIC, sampler="euler"), run_seed=5, step=7, batch=4)
    assert straight.path is None
    assert (straight.clean - one.clean).abs().amax((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("sampler", STOCHASTIC_SAMPLERS)
def test_kept_probabilities_are_those_that_training_finds_for_the_same_weights(model, sampler):
    config = replace(STOCHASTIC, sampler=sampler)
    rollout = draw_groups(model, tuple(PROMPTS[:2]), config, run_seed=5, step=7, batch=4)
    path, prompts = rollout.path, model.encode(rollout.prompt_per_picture)
    for index in range(2):
        velocity = model.velocity(path.points[index], path.sigmas[index], prompts)
        sigma, lower = float(path.sigmas[index]), float(path.sigmas[index + 1])
        place = {"noise_level": 0.7, "highest_sigma": float(path.sigmas[1])}
        step = TRANSITIONS[sampler](velocity, path.points[index], sigma, lower, **place)
        found = log_probability(path.points[index + 1], step)
        torch.testing.assert_close(found, path.log_probabilities[index], atol=2e-6, rtol=0)


@pytest.mark.parametrize("sampler", STOCHASTIC_SAMPLERS)
def test_examinations_of_a_stochastic_sampler_are_drawn_by_euler(model, sampler):
    prompts, noise = model.encode(PROMPTS[:2]), starting_noise([1, 2], model.latent_shape, model.device)
    configs = [replace(STOCHASTIC, sampler=name) for name in (sampler, "euler")]
    one, other = (draw_latents(model, prompts, noise, config, batch=2) for config in configs)
    assert torch.equal(one, other)


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
