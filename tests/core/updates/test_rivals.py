"""The rivals' gradients against independent computations of their papers' losses, for any micro-batch."""

from dataclasses import replace
from math import pi, sin, sqrt

import pytest
import torch
from doubled_model import SIGMA, G, K, drawn, gradient, lesson_of, random_rewards, run_config
from small_model import PROMPTS
from torch.distributions import Normal
from torch.nn import functional

from dgpo_core.baselines.flow_grpo import Path
from dgpo_core.config import LossConfig, RolloutConfig
from dgpo_core.lesson import Tally
from dgpo_core.updates.catalogue import new_update
from dgpo_core.updates.flow_grpo import FlowGrpoUpdate

MICRO_BATCHES = [1, 3, 2 * G, K * G]
WITH_KL = LossConfig(kl_weight=0.3, clip_range=0.0, reference="frozen", preference_beta=5.0)
AGAINST_OLD = replace(WITH_KL, kl_weight=0.0, reference="old_policy", preference_beta=300.0)


def same(one, other):
    assert other.abs().max() > 0
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))


def velocities(model, lesson, config, old_policy):
    """Velocity of the policy with gradient, of the old policy and the reference without, and the target."""
    level = drawn(lesson, SIGMA, config)
    noise = level.noise.repeat_interleave(G, 0)
    x, target = (1 - 0.8) * lesson.clean + 0.8 * noise, noise - lesson.clean
    prompts = model.encode([PROMPTS[group] for group in lesson.kept_groups for _ in range(G)])
    with torch.no_grad(), old_policy.swapped_in(model.policy_parameters()):
        old = model.velocity(x, SIGMA, prompts)
    with torch.no_grad(), model.reference():
        reference = model.velocity(x, SIGMA, prompts)
    return model.velocity(x, SIGMA, prompts), old, reference, target


def flat_gradient(model, loss):
    found = torch.autograd.grad(loss, list(model.policy_parameters().values()), materialize_grads=True)
    return torch.cat([one.flatten() for one in found])


def square(difference):
    return (difference**2).mean((1, 2, 3))


def two_of_three_groups():
    rewards = random_rewards()
    rewards[1] = 0.5
    return rewards


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
def test_diffusion_nft(watched, old_policy, micro_batch):
    lesson = lesson_of(watched, two_of_three_groups())
    config = run_config(WITH_KL, micro_batch, "diffusion_nft", nft_strength=0.4, nft_advantage_clip=1.3)
    found, tally = gradient(watched, lesson, WITH_KL, micro_batch, old_policy, config=config)
    policy, old, reference, target = velocities(watched, lesson, WITH_KL, old_policy)
    good = (lesson.advantage / 1.3).clamp(-1, 1) / 2 + 0.5
    pulled = good * square(0.6 * old + 0.4 * policy - target) + (1 - good) * square(1.4 * old - 0.4 * policy - target)
    same(found, flat_gradient(watched, (pulled + 0.3 * square(policy - reference)).sum() / (K * G)))
    torch.testing.assert_close(torch.cat(tally.errors), square(policy - target).detach())


@pytest.mark.parametrize("algorithm", ["diffusion_nft", "reward_weighted"])
@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
def test_pictures_without_a_reward_pull_nowhere(watched, old_policy, micro_batch, algorithm):
    config = run_config(AGAINST_OLD, micro_batch, algorithm)
    lesson = lesson_of(watched, two_of_three_groups())
    unjudged = replace(lesson, is_judged=torch.arange(len(lesson.clean)) % G != 1)
    other = replace(unjudged, clean=torch.where(unjudged.is_judged[:, None, None, None], lesson.clean, -lesson.clean))
    found = [
        gradient(watched, one, AGAINST_OLD, micro_batch, old_policy, config=config)[0] for one in (unjudged, other)
    ]
    same(*found)


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
def test_reward_weighted(watched, old_policy, micro_batch):
    lesson = lesson_of(watched, two_of_three_groups())
    config = run_config(WITH_KL, micro_batch, "reward_weighted", temperature=0.7)
    found, _ = gradient(watched, lesson, WITH_KL, micro_batch, old_policy, config=config)
    policy, _, reference, target = velocities(watched, lesson, WITH_KL, old_policy)
    powers = (lesson.advantage / 0.7).exp().view(-1, G)
    weight = (G * powers / powers.sum(1, keepdim=True)).flatten()
    loss = weight * square(policy - target) + 0.3 * square(policy - reference)
    same(found, flat_gradient(watched, loss.sum() / (K * G)))


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
@pytest.mark.parametrize("loss_config", [WITH_KL, AGAINST_OLD], ids=["frozen with KL", "old policy"])
def test_diffusion_dpo(watched, old_policy, loss_config, micro_batch):
    lesson = lesson_of(watched, two_of_three_groups())
    config = run_config(loss_config, micro_batch, "diffusion_dpo")
    found, _ = gradient(watched, lesson, loss_config, micro_batch, old_policy, config=config)
    policy, old, reference, target = velocities(watched, lesson, loss_config, old_policy)
    base = reference if loss_config.reference == "frozen" else old
    gained = square(policy - target) - square(base - target)
    total = 0.0
    for group in range(lesson.num_groups):
        rows = range(group * G, (group + 1) * G)
        best, worst = (choose(rows, key=lambda row: float(lesson.advantage[row])) for choose in (max, min))
        beta = loss_config.preference_beta
        total = total - functional.logsigmoid(beta * (gained[worst] - gained[best])) / beta
        drift = square(policy - reference)
        total = total + loss_config.kl_weight * (drift[best] + drift[worst]) / 2
    same(found, flat_gradient(watched, total / K))


def test_diffusion_dpo_looks_at_two_pictures_of_a_group(watched, old_policy):
    lesson = lesson_of(watched, random_rewards())
    config = run_config(AGAINST_OLD, K * G, "diffusion_dpo")
    gradient(watched, lesson, AGAINST_OLD, K * G, old_policy, config=config)
    assert watched.num_pictures == 2 * 2 * K


def test_diffusion_dpo_tells_outliers_apart_that_a_clip_makes_alike(watched, old_policy):
    rewards = torch.tensor([[0.45, 0.9, 1.0, 0.5], [0.1, 0.0, 0.6, 0.5], [0.2, 0.9, 0.3, 1.0]])
    config = run_config(AGAINST_OLD, K * G, "diffusion_dpo")
    found = [
        gradient(watched, lesson, AGAINST_OLD, K * G, old_policy, config=config)[0]
        for lesson in (lesson_of(watched, rewards, clip=0.5), lesson_of(watched, rewards))
    ]
    same(*found)


SIGMAS = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)
NOISE_LEVEL = 0.7


def step_of_the_paper(x, velocity, index):
    """Mean and standard deviation of the next point: Flow-GRPO eq. 9 with its a * sqrt(sigma / (1 - sigma))."""
    sigma, lower = float(SIGMAS[index]), float(SIGMAS[index + 1])
    spread = NOISE_LEVEL * sqrt(sigma / (1 - (0.75 if sigma == 1 else sigma)))
    mean = x + (velocity + spread**2 / (2 * sigma) * (x + (1 - sigma) * velocity)) * (lower - sigma)
    return mean, spread * sqrt(sigma - lower)


def velocity_at(model, lesson, x, index, guidance=1.0):
    prompts = model.encode([PROMPTS[group] for group in lesson.kept_groups for _ in range(G)])
    velocity = model.velocity(x, SIGMAS[index], prompts)
    if guidance == 1:
        return velocity
    empty = model.velocity(x, SIGMAS[index], model.encode([""] * len(x)))
    return empty + guidance * (velocity - empty)


@pytest.fixture
def walked(watched, old_policy):
    """A lesson whose paths were drawn by the old policy."""
    lesson = lesson_of(watched, two_of_three_groups())
    generator = torch.Generator().manual_seed(9)
    points, densities = [torch.randn(lesson.clean.shape, generator=generator, dtype=torch.float64)], []
    with torch.no_grad(), old_policy.swapped_in(watched.policy_parameters()):
        for index in range(3):
            mean, std = step_of_the_paper(points[-1], velocity_at(watched, lesson, points[-1], index), index)
            points.append(mean + std * torch.randn(mean.shape, generator=generator, dtype=torch.float64))
            densities.append(Normal(mean, std).log_prob(points[-1]).mean((1, 2, 3)))
    points.append(points[-1])
    densities.append(torch.zeros(len(lesson.clean), dtype=torch.float64))
    watched.num_pictures = 0
    return replace(lesson, path=Path(tuple(points), tuple(densities), SIGMAS))


def grpo(model, loss, micro_batch, sampler="flow_sde", guidance=1.0):
    rollout = RolloutConfig(sampler=sampler, guidance_scale=guidance)
    config = replace(run_config(loss, micro_batch, "flow_grpo"), rollout=rollout)
    return FlowGrpoUpdate(model, config, before_part=lambda: None)


@pytest.mark.parametrize("micro_batch", MICRO_BATCHES)
@pytest.mark.parametrize(("index", "guidance"), [(0, 1.0), (1, 1.0), (2, 1.0), (1, 3.0)])
def test_flow_grpo(watched, walked, micro_batch, index, guidance):
    loss_config = LossConfig(kl_weight=0.3, clip_range=1e-4, sigma_min=0.0, num_sigmas=3)
    update = grpo(watched, loss_config, micro_batch, guidance=guidance)
    tally = Tally()
    update.accumulate(walked, update.levels(walked, step=0, epoch=0)[index], tally, None)
    found = torch.cat([one.grad.flatten() for one in watched.policy_parameters().values()])
    x, after = walked.path.points[index : index + 2]
    mean, std = step_of_the_paper(x, velocity_at(watched, walked, x, index, guidance), index)
    with torch.no_grad(), watched.reference():
        kept, _ = step_of_the_paper(x, velocity_at(watched, walked, x, index, guidance), index)
    ratio = (Normal(mean, std).log_prob(after).mean((1, 2, 3)) - walked.path.log_probabilities[index]).exp()
    surrogate = torch.minimum(walked.advantage * ratio, walked.advantage * ratio.clamp(1 - 1e-4, 1 + 1e-4))
    kl = square(mean - kept) / (2 * std**2)
    same(found, flat_gradient(watched, (0.3 * kl - surrogate).sum() / (K * G)))
    is_moved_too_far = torch.where(walked.advantage > 0, ratio > 1 + 1e-4, ratio < 1 - 1e-4)
    assert torch.equal(torch.cat(tally.clipped), is_moved_too_far)
    assert is_moved_too_far.any()


def keeping_step(x, velocity, index):
    """Mean and standard deviation of the next point: coefficients of picture and noise kept (arXiv 2509.05952)."""
    sigma, lower = float(SIGMAS[index]), float(SIGMAS[index + 1])
    clean, noise = x - sigma * velocity, x + (1 - sigma) * velocity
    std = lower * sin(NOISE_LEVEL * pi / 2)
    return (1 - lower) * clean + sqrt(lower**2 - std**2) * noise, std


@pytest.mark.parametrize("index", [0, 2])
def test_flow_grpo_on_paths_that_keep_their_coefficients(watched, walked, old_policy, index):
    x, after = walked.path.points[index : index + 2]
    with torch.no_grad(), old_policy.swapped_in(watched.policy_parameters()):
        drawn_from, _ = keeping_step(x, velocity_at(watched, walked, x, index), index)
    old = -square(after - drawn_from)
    densities = tuple(old if place == index else one for place, one in enumerate(walked.path.log_probabilities))
    lesson = replace(walked, path=replace(walked.path, log_probabilities=densities))
    update = grpo(watched, LossConfig(kl_weight=0.3, clip_range=1e-5, sigma_min=0.0, num_sigmas=3), 3, "flow_cps")
    tally = Tally()
    update.accumulate(lesson, update.levels(lesson, step=0, epoch=0)[index], tally, None)
    found = torch.cat([one.grad.flatten() for one in watched.policy_parameters().values()])
    mean, std = keeping_step(x, velocity_at(watched, walked, x, index), index)
    with torch.no_grad(), watched.reference():
        kept, _ = keeping_step(x, velocity_at(watched, walked, x, index), index)
    ratio = (-square(after - mean) - old).exp()
    surrogate = torch.minimum(walked.advantage * ratio, walked.advantage * ratio.clamp(1 - 1e-5, 1 + 1e-5))
    same(found, flat_gradient(watched, (0.3 * square(mean - kept) / (2 * std**2) - surrogate).sum() / (K * G)))
    assert torch.cat(tally.clipped).any()


def test_flow_grpo_without_a_clip_clips_none(watched, walked):
    update, tally = grpo(watched, LossConfig(clip_range=0.0), K * G), Tally()
    update.accumulate(walked, update.levels(walked, step=0, epoch=0)[0], tally, None)
    assert not torch.cat(tally.clipped).any()
    assert watched.num_pictures == 2 * len(walked.clean)


def test_flow_grpo_trains_steps_with_noise_above_sigma_min_in_the_order_of_the_path(watched, walked):
    every = grpo(watched, LossConfig(num_sigmas=9, sigma_min=0.0), 4).levels(walked, step=0, epoch=0)
    assert [level.index for level in every] == [0, 1, 2]
    assert [level.index for level in grpo(watched, LossConfig(sigma_min=0.6), 4).levels(walked, step=0, epoch=0)] == [
        0,
        1,
    ]
    two = grpo(watched, LossConfig(num_sigmas=2, sigma_min=0.0), 4)
    chosen = {tuple(level.index for level in two.levels(walked, step=step, epoch=0)) for step in range(30)}
    assert chosen == {(0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize("name", ["flow_grpo", "diffusion_nft", "diffusion_dpo", "reward_weighted"])
def test_the_watched_kl_is_that_of_velocities(watched, walked, name):
    update = new_update(watched, run_config(LossConfig(), 4, name), before_part=lambda: None)
    level = update.levels(walked, step=0, epoch=0)[0]
    found = update.measured_kl(walked, level, 3)
    assert found.shape == (3,)
    assert (found > 0).all()
