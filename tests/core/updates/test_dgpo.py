from dataclasses import replace

import pytest
import torch
from doubled_model import SHARED, SIGMA, G, K, drawn, gradient, lesson_of, random_rewards, run_config
from small_model import PROMPTS
from torch.nn import functional

from dgpo_core.config import LossConfig
from dgpo_core.ema import WeightCopy
from dgpo_core.lesson import Tally
from dgpo_core.loss import dgpo_loss, velocity_error
from dgpo_core.updates.dgpo import DgpoUpdate
from dgpo_core.updates.noised import HELD_SHARE

LOSSES = {
    "frozen reference": LossConfig(dual_clip=0.0, kl_weight=0.0, reference="frozen", clip_range=0.0),
    "frozen reference, clip, KL": LossConfig(dual_clip=0.0, reference="frozen", clip_range=2e-3, kl_weight=0.3),
    "old policy": LossConfig(dual_clip=0.0, kl_weight=0.0, reference="old_policy", clip_range=0.0),
    "old policy, clip": LossConfig(dual_clip=0.0, kl_weight=0.0, reference="old_policy", clip_range=2e-3),
    "old policy, clip, KL": LossConfig(dual_clip=0.0, reference="old_policy", clip_range=2e-3, kl_weight=0.3),
    "old policy, both clips, KL": LossConfig(reference="old_policy", clip_range=2e-3, dual_clip=5e-3, kl_weight=0.3),
    "old policy, both clips, clipped KL": LossConfig(
        reference="old_policy", clip_range=2e-3, dual_clip=5e-3, kl_weight=0.3, clip_kl=True
    ),
    "dual clip alone": LossConfig(reference="old_policy", clip_range=0.0, dual_clip=5e-3, kl_weight=0.0),
    "guided reference": LossConfig(
        dual_clip=0.0, reference="frozen", reference_guidance=3.0, clip_range=2e-3, kl_weight=0.3
    ),
    "old policy, guided KL": LossConfig(
        dual_clip=0.0, reference="old_policy", reference_guidance=3.0, clip_range=2e-3, kl_weight=0.3
    ),
    "noise of its own for every picture": LossConfig(
        dual_clip=0.0, kl_weight=0.0, reference="frozen", shared_noise=False, clip_range=2e-3
    ),
    "some groups without their prompt": LossConfig(
        dual_clip=0.0, kl_weight=0.0, reference="old_policy", text_dropout=0.6, clip_range=2e-3
    ),
}
SOFT_BETA = {"frozen": 5.0, "old_policy": 300.0}


def loss_config(name):
    """One of LOSSES with a preference_beta at which no gate is shut or wide open."""
    return replace(LOSSES[name], preference_beta=SOFT_BETA[LOSSES[name].reference])


def naive_gradient(model, lesson, config, old_policy):
    """beta^-1 times the gradient of -log sigmoid(-s) per group, plus KL: the paper's form, by autograd."""
    parameters = model.policy_parameters()
    level = drawn(lesson, SIGMA, config)
    assert level.is_uncaptioned.any() == (config.text_dropout > 0)
    assert not level.is_uncaptioned.all()
    total, num_clipped = 0.0, 0
    for group in range(lesson.num_groups):
        rows = slice(group * G, (group + 1) * G)
        clean, eps, advantage = (
            lesson.clean[rows],
            level.noise[group if config.shared_noise else rows],
            lesson.advantage[rows],
        )
        x, target = (1 - 0.8) * clean + 0.8 * eps, eps - clean
        prompt = model.encode(["" if level.is_uncaptioned[group] else PROMPTS[lesson.kept_groups[group]]] * G)
        with torch.no_grad(), old_policy.swapped_in(parameters):
            old_error = ((model.velocity(x, SIGMA, prompt) - target) ** 2).mean((1, 2, 3))
        with torch.no_grad(), model.reference():
            frozen = model.velocity(x, SIGMA, prompt)
            if config.reference_guidance > 1:
                empty = model.velocity(x, SIGMA, model.encode([""] * G))
                frozen = empty + config.reference_guidance * (frozen - empty)
        frozen_error = ((frozen - target) ** 2).mean((1, 2, 3))
        velocity = model.velocity(x, SIGMA, prompt)
        error = ((velocity - target) ** 2).mean((1, 2, 3))
        too_far = torch.zeros(G, dtype=torch.bool)
        if config.clip_range:
            ratio = (old_error - error.detach()).exp()
            too_far = torch.where(advantage > 0, ratio > 1 + config.clip_range, ratio < 1 - config.clip_range)
        is_held = ~too_far if config.clip_kl else torch.ones(G, dtype=torch.bool)
        if config.dual_clip:
            too_far = too_far | (advantage < 0) & (error.detach() > frozen_error + config.dual_clip)
        num_clipped += int(too_far.sum())
        error = torch.where(too_far, error.detach(), error)
        reference_error = frozen_error if config.reference == "frozen" else old_error
        preference = config.preference_beta / G * (advantage * (error - reference_error)).sum()
        kl = ((velocity - frozen) ** 2).mean((1, 2, 3))[is_held].sum()
        loss = -functional.logsigmoid(-preference) / config.preference_beta * G + config.kl_weight * kl
        found = torch.autograd.grad(loss / lesson.num_pictures, list(parameters.values()), materialize_grads=True)
        total = total + torch.cat([one.flatten() for one in found])
    return total, num_clipped


def assert_same_gradient(one, other):
    assert other.abs().max() > 0
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("micro_batch", [1, 3, G, 2 * G, K * G])
def test_the_gradient_is_that_of_the_papers_loss_for_any_micro_batch(watched, old_policy, name, micro_batch):
    config, lesson = loss_config(name), lesson_of(watched, random_rewards())
    expected, num_clipped = naive_gradient(watched, lesson, config, old_policy)
    found, tally = gradient(watched, lesson, config, micro_batch, old_policy)
    assert_same_gradient(found, expected)
    assert int(torch.cat(tally.clipped).sum()) == num_clipped
    assert (num_clipped > 0) == (config.clip_range > 0 or config.dual_clip > 0)
    gates = torch.cat(tally.gates)
    assert 0.02 < gates.min() < gates.max() < 0.98


@pytest.mark.parametrize("name", ["old policy", "old policy, clip", "old policy, both clips", "dual clip alone"])
def test_the_loss_in_one_call_has_the_gradient_and_the_clips_of_the_update(watched, old_policy, name):
    config = replace(loss_config(f"{name}, KL" if name == "old policy, both clips" else name), kl_weight=0.0)
    lesson, parameters = lesson_of(watched, random_rewards()), watched.policy_parameters()
    x, target, conditioning = drawn(lesson, SIGMA, config).apply(lesson, slice(0, K * G))

    def error():
        return velocity_error(watched.velocity(x, SIGMA, conditioning), target)

    with torch.no_grad(), old_policy.swapped_in(parameters):
        old_error = error()
    with torch.no_grad(), watched.reference():
        frozen_error = error()
    terms = dgpo_loss(
        error(),
        old_error,
        lesson.advantage,
        lesson.group,
        num_groups=K,
        group_size=G,
        preference_beta=config.preference_beta,
        old_error=old_error,
        clip_range=config.clip_range,
        frozen_error=frozen_error,
        dual_clip=config.dual_clip,
    )
    parts = torch.autograd.grad(terms.per_sample.mean(), list(parameters.values()), materialize_grads=True)
    found, tally = gradient(watched, lesson, config, K * G, old_policy)
    assert_same_gradient(torch.cat([part.flatten() for part in parts]), found)
    assert torch.equal(terms.is_clipped, torch.cat(tally.clipped))
    assert terms.is_clipped.any() == (config.clip_range > 0 or config.dual_clip > 0)


@pytest.mark.parametrize("micro_batch", [3, 2 * G])
def test_the_tally_does_not_depend_on_the_micro_batch(watched, old_policy, micro_batch):
    config, lesson = loss_config("guided reference"), lesson_of(watched, random_rewards())
    _, whole = gradient(watched, lesson, config, K * G, old_policy)
    _, parts = gradient(watched, lesson, config, micro_batch, old_policy)
    for name in ("gates", "errors", "kls", "clipped"):
        torch.testing.assert_close(torch.cat(getattr(parts, name)), torch.cat(getattr(whole, name)))


@pytest.mark.parametrize("micro_batch", [3, 2 * G])
def test_groups_without_a_preference_cost_no_forward_and_change_nothing_but_the_mean(watched, old_policy, micro_batch):
    config, rewards = loss_config("frozen reference, clip, KL"), random_rewards()
    alone, _ = gradient(watched, lesson_of(watched, rewards[:2]), config, micro_batch, old_policy)
    cost_alone, watched.num_pictures = watched.num_pictures, 0
    with_dead = torch.cat([rewards[:2], torch.full((1, G), 0.5)])
    found, _ = gradient(watched, lesson_of(watched, with_dead), config, micro_batch, old_policy)
    assert watched.num_pictures == cost_alone == 3 * 2 * G
    assert_same_gradient(found, alone * 2 / 3)


@pytest.mark.parametrize(
    ("name", "forwards_per_picture"),
    [
        ("frozen reference", 2),
        ("old policy", 2),
        ("frozen reference, clip, KL", 3),
        ("old policy, clip, KL", 3),
        ("guided reference", 4),
        ("old policy, guided KL", 4),
    ],
)
def test_velocities_are_asked_for_only_where_needed(watched, old_policy, name, forwards_per_picture):
    gradient(watched, lesson_of(watched, random_rewards()), loss_config(name), 2 * G, old_policy)
    assert watched.num_pictures == forwards_per_picture * K * G


def test_while_the_policy_is_the_old_policy_nothing_is_clipped_and_every_gate_is_a_half(watched):
    lesson = lesson_of(watched, random_rewards())
    _, tally = gradient(watched, lesson, loss_config("old policy, clip"), 3, None)
    assert watched.num_pictures == K * G
    assert torch.cat(tally.gates).tolist() == [0.5] * K
    assert not torch.cat(tally.clipped).any()


def test_clipped_samples_give_no_gradient(watched, old_policy):
    config = loss_config("old policy, clip")
    lesson = lesson_of(watched, random_rewards())
    _, tally = gradient(watched, lesson, config, K * G, old_policy)
    clipped = torch.cat(tally.clipped)
    without = replace(lesson, advantage=torch.where(clipped, 0.0, lesson.advantage))
    assert 0 < clipped.sum() < K * G
    # At beta 0 every gate is a half, so that leaving samples out changes nothing else.
    flat = replace(config, preference_beta=0.0)
    left_out, _ = gradient(watched, without, flat, K * G, old_policy)
    found, _ = gradient(watched, lesson, flat, K * G, old_policy)
    assert_same_gradient(found, left_out)
    unclipped, _ = gradient(watched, lesson, replace(flat, clip_range=0.0), K * G, old_policy)
    assert (unclipped - found).abs().max() > 1e-3 * found.abs().max()


def test_gradients_of_several_noise_levels_add_up(watched, old_policy):
    config, lesson = loss_config("old policy, clip"), lesson_of(watched, random_rewards())
    update = DgpoUpdate(watched, run_config(config, 3), before_part=lambda: None)
    alone = []
    for index, sigma in enumerate((0.7, 0.9)):
        level = drawn(lesson, torch.tensor(sigma), index=index)
        for parameter in watched.policy_parameters().values():
            parameter.grad = None
        update.accumulate(lesson, level, Tally(), update.under_old_policy(lesson, level, old_policy))
        alone.append({name: one.grad for name, one in watched.policy_parameters().items() if one.grad is not None})
        last = level
    for parameter in watched.policy_parameters().values():
        parameter.grad = None
    first = drawn(lesson, torch.tensor(0.7), index=0)
    for level in (first, last):
        update.accumulate(lesson, level, Tally(), update.under_old_policy(lesson, level, old_policy))
    for name, parameter in watched.policy_parameters().items():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, alone[0][name] + alone[1][name])


def test_old_errors_are_those_of_the_old_policy_and_give_the_weights_back(watched, old_policy):
    lesson = lesson_of(watched, random_rewards())
    level = drawn(lesson, SIGMA)
    update = DgpoUpdate(watched, run_config(LossConfig(), 5), before_part=lambda: None)
    before = {name: one.detach().clone() for name, one in watched.policy_parameters().items()}
    found = update.under_old_policy(lesson, level, old_policy)
    assert all(torch.equal(one, before[name]) for name, one in watched.policy_parameters().items())
    x, target, conditioning = level.apply(lesson, slice(None))
    with torch.no_grad(), old_policy.swapped_in(watched.policy_parameters()):
        expected = ((watched.velocity(x, SIGMA, conditioning) - target) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize("micro_batch", [1, 3, G, 2 * G])
def test_a_stop_is_looked_for_before_every_micro_batch(watched, old_policy, micro_batch):
    looks = []

    def look():
        looks.append(watched.num_forwards)

    lesson = lesson_of(watched, random_rewards())
    gradient(watched, lesson, loss_config("old policy"), micro_batch, old_policy, before_part=look)
    assert looks == list(range(watched.num_forwards))


def test_noise_is_shared_inside_a_group_and_fresh_for_every_group_level_step_and_seed(watched):
    lesson = lesson_of(watched, random_rewards())
    level = drawn(lesson, SIGMA)
    x, target, _ = level.apply(lesson, slice(None))
    noise = (x - (1 - 0.8) * lesson.clean) / 0.8
    for group in range(K):
        members = noise[group * G : (group + 1) * G]
        torch.testing.assert_close(members, members[:1].expand_as(members), atol=1e-6, rtol=0)
    torch.testing.assert_close(target, noise - lesson.clean, atol=1e-6, rtol=0)
    places = [{}, {"index": 1}, {"step": 1}, {"run_seed": 1}]
    draws = [drawn(lesson, SIGMA, **place) for place in places]
    every = torch.cat([draw.noise for draw in draws])
    assert len({one.numpy().tobytes() for one in every}) == len(places) * K


def test_noise_of_its_own_is_another_for_every_picture(watched):
    lesson = lesson_of(watched, random_rewards())
    level = drawn(lesson, SIGMA, LossConfig(shared_noise=False))
    x, _, _ = level.apply(lesson, slice(2, 7))
    noise = (x - (1 - 0.8) * lesson.clean[2:7]) / 0.8
    torch.testing.assert_close(noise, level.noise[2:7], atol=1e-6, rtol=0)
    assert len({one.numpy().tobytes() for one in level.noise}) == K * G


def test_text_dropout_takes_its_share_of_groups_anew_at_every_level(watched):
    lesson = lesson_of(watched, random_rewards())
    dropped = torch.stack(
        [drawn(lesson, SIGMA, LossConfig(text_dropout=0.3), index=index).is_uncaptioned for index in range(200)]
    ).float()
    assert ((dropped.mean(0) - 0.3).abs() < 0.12).all()
    assert not drawn(lesson, SIGMA, LossConfig(text_dropout=0.0)).is_uncaptioned.any()
    assert drawn(lesson, SIGMA, LossConfig(text_dropout=1.0)).is_uncaptioned.all()


def test_the_noise_of_a_group_does_not_depend_on_which_others_have_a_preference(watched):
    rewards = random_rewards()
    whole = drawn(lesson_of(watched, rewards), SIGMA)
    rewards[0] = 0.5
    lesson = lesson_of(watched, rewards)
    fewer = drawn(lesson, SIGMA)
    assert lesson.kept_groups == (1, 2)
    assert torch.equal(fewer.noise, whole.noise[1:])


def test_the_watched_kl_is_that_to_the_reference_of_at_most_a_micro_batch(watched):
    lesson = lesson_of(watched, random_rewards())
    level = drawn(lesson, SIGMA)
    update = DgpoUpdate(watched, run_config(LossConfig(), 4), before_part=lambda: None)
    x, _, conditioning = level.apply(lesson, slice(0, 4))
    with torch.no_grad():
        policy = watched.velocity(x, SIGMA, conditioning)
        with watched.reference():
            reference = watched.velocity(x, SIGMA, conditioning)
    torch.testing.assert_close(update.measured_kl(lesson, level, 5), ((policy - reference) ** 2).mean((1, 2, 3)))


def held_gradient(model, lesson, micro_batch, old_policy, **loss):
    """The gradient of the last of three levels, which carries where pictures are only held, flat."""
    loss = replace(SHARED, num_sigmas=3, **loss)
    update = DgpoUpdate(model, run_config(loss, micro_batch), before_part=lambda: None)
    level = update.levels(lesson, step=0, epoch=0)[-1]
    for parameter in model.policy_parameters().values():
        parameter.grad = None
    update.accumulate(lesson, level, Tally(), update.under_old_policy(lesson, level, old_policy))
    grads = [one.grad for one in model.policy_parameters().values() if one.grad is not None]
    return torch.cat([one.flatten() for one in grads]), level


def pull_gradient(model, level, lesson, weight):
    """The gradient of weight times the mean KL of one picture in so many, flat."""
    x, _, conditioning = level.apply(lesson, slice(None, None, HELD_SHARE))
    with torch.no_grad(), model.reference():
        reference = model.velocity(x, level.sigma, conditioning)
    kl = ((model.velocity(x, level.sigma, conditioning) - reference) ** 2).mean((1, 2, 3)).mean()
    pull = torch.autograd.grad(weight * kl, list(model.policy_parameters().values()), allow_unused=True)
    pull = torch.cat([one.flatten() for one in pull if one is not None])
    assert pull.abs().max() > 1e-9
    return pull


@pytest.mark.parametrize("micro_batch", [1, 3, K * G])
def test_below_the_trained_levels_some_pictures_are_held_to_the_reference(watched, old_policy, micro_batch):
    lesson = lesson_of(watched, random_rewards())
    plain, level = held_gradient(watched, lesson, micro_batch, old_policy, kl_weight=0.0)
    assert level.below is None
    found, level = held_gradient(watched, lesson, micro_batch, old_policy, kl_weight=0.0, kl_below=2.0)
    assert_same_gradient(found, plain + pull_gradient(watched, level.below, lesson, 3 * 2.0))


@pytest.mark.parametrize("micro_batch", [1, 3, K * G])
def test_some_pictures_of_groups_that_are_alike_are_held_to_the_reference(watched, old_policy, micro_batch):
    rewards = random_rewards()
    rewards[:2] = 1.0
    lesson = lesson_of(watched, rewards)
    assert (lesson.kept_groups, lesson.alike.kept_groups) == ((2,), (0, 1))
    plain, level = held_gradient(watched, lesson, micro_batch, old_policy, kl_weight=0.3)
    assert level.alike is None
    found, level = held_gradient(watched, lesson, micro_batch, old_policy, kl_weight=0.3, kl_on_alike=True)
    assert not torch.equal(level.alike.noise[0], level.noise[0])
    # The mean is over all pictures of the step, two thirds of which are alike.
    assert_same_gradient(found, plain + pull_gradient(watched, level.alike, lesson.alike, 0.3 * 2 / 3))


def test_where_every_group_has_a_preference_none_is_alike(watched):
    lesson = lesson_of(watched, random_rewards())
    update = DgpoUpdate(watched, run_config(LossConfig(kl_on_alike=True), 3), before_part=lambda: None)
    assert lesson.alike is None
    assert all(level.alike is None for level in update.levels(lesson, step=0, epoch=0))


def test_once_a_round_one_level_lies_below_and_it_is_another_at_every_step_and_epoch(watched):
    lesson = lesson_of(watched, random_rewards())
    loss = LossConfig(kl_below=1.0, sigma_min=0.4, num_sigmas=3)
    update = DgpoUpdate(watched, run_config(loss, 3), before_part=lambda: None)
    rounds = [update.levels(lesson, step=step, epoch=epoch) for step in range(6) for epoch in range(3)]
    assert all([level.below is None for level in levels] == [True, True, False] for levels in rounds)
    below = [levels[-1].below for levels in rounds]
    sigmas = [float(one.sigma) for one in below]
    assert 0 <= min(sigmas) < 0.1 < 0.3 < max(sigmas) < 0.4
    assert len(set(sigmas)) == len({float(one.noise.sum()) for one in below}) == len(rounds)


def test_a_renewed_reference_answers_in_place_of_the_start(watched):
    lesson = lesson_of(watched, random_rewards())
    level = drawn(lesson, SIGMA)
    update = DgpoUpdate(watched, run_config(LossConfig(), 4), before_part=lambda: None)
    parameters = watched.policy_parameters()
    update.reference = WeightCopy.of(parameters)
    assert update.measured_kl(lesson, level, 4).max() < 1e-10
    x, _, conditioning = level.apply(lesson, slice(0, 4))
    with torch.no_grad():
        reference = watched.velocity(x, SIGMA, conditioning)
        for parameter in parameters.values():
            parameter.mul_(1.5)
        policy = watched.velocity(x, SIGMA, conditioning)
    torch.testing.assert_close(update.measured_kl(lesson, level, 4), ((policy - reference) ** 2).mean((1, 2, 3)))
