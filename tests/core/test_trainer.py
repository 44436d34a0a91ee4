import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_model import PROMPTS
from small_run import EVERY_STEP, Listener, numbers_at, run, small_config, small_parts, without_phases
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dgpo_core.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from dgpo_core.data.pictures import png_bytes
from dgpo_core.ema import WeightCopy
from dgpo_core.events import (
    CheckpointDropped,
    CheckpointSaved,
    EndReason,
    EvaluationDone,
    Phase,
    PhaseChanged,
    RunEnded,
    RunStarted,
    SampleNow,
    StepDone,
    Warned,
)
from dgpo_core.rollout import draw_groups, of_step, starting_noise
from dgpo_core.training_state import part_of


def test_the_states_of_a_run_all_differ(straight):
    assert len(set(straight)) == 4


def test_events_come_in_a_legal_order(model, tmp_path):
    config = small_config(schedule={"num_steps": 4, "evaluate_every": 2, "checkpoint_every": 1, "checkpoints_kept": 2})
    reason, heard = run(config, small_parts(model, tmp_path, config))
    assert reason is EndReason.FINISHED
    expected = [
        *[(RunStarted, None), (EvaluationDone, 0)],
        *[(StepDone, 0), (CheckpointSaved, 1)],
        *[(StepDone, 1), (EvaluationDone, 2), (CheckpointSaved, 2)],
        *[(StepDone, 2), (CheckpointSaved, 3), (CheckpointDropped, 1)],
        *[(StepDone, 3), (EvaluationDone, 4), (CheckpointSaved, 4), (CheckpointDropped, 2), (RunEnded, 4)],
    ]
    found = [(type(event), getattr(event, "step", None)) for event in without_phases(heard.events)]
    assert found == expected
    num_trainable = sum(one.numel() for one in model.policy_parameters().values())
    assert heard.events[0] == RunStarted(first_step=0, num_steps=4, num_trainable=num_trainable)
    assert heard.events[-1] == RunEnded(step=4, reason=EndReason.FINISHED)
    assert [event.policy for event in heard.of(EvaluationDone)] == ["averaged", "averaged", "averaged"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000003", "step-000004"]


def test_phases_tell_what_is_done_and_never_run_backwards_inside_a_step(model, tmp_path):
    config = small_config(schedule={"num_steps": 2})
    _, heard = run(config, small_parts(model, tmp_path, config))
    order = [Phase.SAMPLING, Phase.SCORING, Phase.UPDATING]
    for step in range(2):
        phases = [event for event in heard.of(PhaseChanged) if event.step == step and event.phase in order]
        assert [(event.phase, event.done, event.total) for event in phases] == [
            *[(Phase.SAMPLING, 0, 2), (Phase.SAMPLING, 1, 2)],
            (Phase.SCORING, 0, 1),
            *[(Phase.UPDATING, 0, 2), (Phase.UPDATING, 1, 2)],
        ]


def test_a_step_tells_everything_about_its_groups(model, tmp_path):
    config = small_config(schedule={"num_steps": 2})
    _, heard = run(config, small_parts(model, tmp_path, config))
    for done in heard.of(StepDone):
        assert [group.index for group in done.groups] == [0, 1]
        assert all(group.prompt in PROMPTS[:4] for group in done.groups)
        for group in done.groups:
            rewards = [sample.reward for sample in group.samples]
            assert [sample.member for sample in group.samples] == [0, 1, 2, 3]
            assert group.has_preference
            assert group.reward_mean == pytest.approx(np.mean(rewards), abs=1e-6)
            assert group.reward_std == pytest.approx(np.std(rewards), abs=1e-6)
            advantages = [sample.advantage for sample in group.samples]
            assert advantages == pytest.approx((np.array(rewards) - np.mean(rewards)) / np.std(rewards), abs=1e-2)
            assert 0 < group.gate < 1
            assert all(sample.terms == (("brightness", sample.reward),) for sample in group.samples)
        metrics, every = done.metrics, [sample.reward for group in done.groups for sample in group.samples]
        assert metrics.reward_mean == pytest.approx(np.mean(every), abs=1e-6)
        assert metrics.reward_std == pytest.approx(np.mean([group.reward_std for group in done.groups]), abs=1e-6)
        assert metrics.preference_fraction == 1.0
        assert metrics.gate == pytest.approx(np.mean([group.gate for group in done.groups]), abs=1e-6)
        assert metrics.kl > 0
        assert metrics.grad_norm > 0
        assert 0 < metrics.velocity_error < 10
        parts = ("sampling", "decoding", "scoring", "updating", "other")
        seconds = [getattr(metrics, f"{part}_seconds") for part in parts]
        assert min(seconds) >= 0
        assert sum(seconds) == pytest.approx(metrics.step_seconds)


def test_the_seed_of_a_sample_remakes_its_picture(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    _, heard = run(config, small_parts(model, tmp_path, config), listener=Listener({}))
    group = heard.of(StepDone)[0].groups[1]
    # B of the LoRA is zero in the first step, so the first groups are drawn by the base.
    noise = starting_noise([sample.seed for sample in group.samples], model.latent_shape, model.device)
    with torch.no_grad(), model.reference():
        x = noise
        for sigma, lower in pairwise((1.0, 0.5, 0.0)):
            x = x + (lower - sigma) * model.velocity(x, torch.tensor(sigma), model.encode([group.prompt] * 4))
    assert [png_bytes(picture) for picture in model.decode(x)] == [sample.png for sample in group.samples]


def test_every_step_draws_other_noise_and_the_same_again_in_another_run(model, tmp_path):
    config = small_config(schedule={"num_steps": 3})
    seeds = []
    for name in ("one", "two"):
        _, heard = run(config, small_parts(model, tmp_path / name, config))
        samples = [sample for done in heard.of(StepDone) for group in done.groups for sample in group.samples]
        seeds.append([sample.seed for sample in samples])
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3 * 2 * 4


def test_the_global_generators_are_neither_read_nor_moved(model, tmp_path, straight):
    config = small_config(schedule=EVERY_STEP | {"evaluate_every": 1})
    torch.manual_seed(4321)
    np.random.seed(4321)
    random.seed(4321)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    run(config, small_parts(model, tmp_path, config), listener=Listener({9: [SampleNow(("a ring",), 3)]}))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert numbers_at(tmp_path / "step-000003", model, config) == straight[3]


@pytest.mark.parametrize("per_sigma", [True, False])
def test_an_update_that_is_not_finite_is_left_out_and_said(model, tmp_path, per_sigma):
    config = small_config(schedule={"num_steps": 2, "checkpoint_every": 1}, update={"per_sigma": per_sigma})
    training = [0]

    def poison(module, inputs, output):
        if not torch.is_grad_enabled():
            return output
        training[0] += 1
        return (output[0] * math.nan,) if training[0] == 1 else output

    hook = model.pipeline.transformer.register_forward_hook(poison)
    try:
        reason, heard = run(config, small_parts(model, tmp_path, config))
    finally:
        hook.remove()
    assert reason is EndReason.FINISHED
    assert [(event.step, event.message) for event in heard.of(Warned)] == [
        (0, "An update was left out because its gradient was not finite. Weights are as before it.")
    ]
    poisoned, whole = heard.of(StepDone)
    assert math.isnan(poisoned.metrics.grad_norm) != per_sigma
    assert all(math.isfinite(getattr(whole.metrics, name)) for name in whole.metrics.__slots__)
    assert all(0 <= group.gate <= 1 for done in (poisoned, whole) for group in done.groups)
    assert all(one.isfinite().all() for one in model.policy_parameters().values())


def test_weights_are_untouched_when_no_update_is_finite(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    hook = model.pipeline.transformer.register_forward_hook(
        lambda module, inputs, output: (output[0] * math.nan,) if torch.is_grad_enabled() else output
    )
    before = []

    def remember(event):
        if isinstance(event, RunStarted):
            before.append({name: one.detach().clone() for name, one in model.policy_parameters().items()})

    try:
        _, heard = run(config, small_parts(model, tmp_path, config), emit=remember)
    finally:
        hook.remove()
    assert len(heard.of(Warned)) == 2
    assert all(torch.equal(one, before[0][name]) for name, one in model.policy_parameters().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"reference": "frozen", "reference_guidance": 2.0, "kl_weight": 0.1}},
        {"loss": {"sigma_source": "grid", "num_sigmas": 1, "clip_range": 0.0}},
        {"loss": {"advantage_std": "batch"}, "update": {"micro_batch": 3}},
        {"loss": {"shared_noise": False, "text_dropout": 0.5}, "update": {"inner_epochs": 2}},
        {"update": {"old_policy_decay": 0.5, "per_sigma": False}},
        {"rollout": {"sampler": "heun", "guidance_scale": 2.0}},
        {"rollout": {"sampler": "dpmpp_2m", "group_size": 5}, "update": {"old_policy_decay": 0.9}},
    ],
)
def test_every_way_to_train_runs_and_moves_the_policy(model, tmp_path, changes):
    config = small_config(**{name: dict(value) for name, value in changes.items()}, schedule={"num_steps": 2})
    reason, heard = run(config, small_parts(model, tmp_path, config))
    assert reason is EndReason.FINISHED
    assert all(done.metrics.grad_norm > 0 for done in heard.of(StepDone))
    assert heard.of(StepDone)[-1].metrics.kl > 0
    assert heard.of(Warned) == []


def drawn_with(weights, model, config, step):
    """Pictures of a step as these weights draw them."""
    prompts = of_step(PROMPTS[:4], step=step, count=config.rollout.groups_per_step, run_seed=config.seed)
    batch = 2 * config.update.micro_batch
    with WeightCopy(weights).swapped_in(model.policy_parameters()):
        drawn = draw_groups(model, prompts, config.rollout, run_seed=config.seed, step=step, batch=batch)
    return [png_bytes(picture) for picture in drawn.pictures]


def test_from_its_step_on_the_old_policy_draws_the_groups(model, tmp_path):
    """A run far enough that the old policy is a mixture, and taken up with an old policy far from the policy."""
    run(small_config(), small_parts(model, tmp_path / "first", small_config()))
    saved = load_checkpoint(newest_checkpoint(tmp_path / "first"))
    generator = torch.Generator().manual_seed(5)
    tensors = {
        name: one + 0.3 * torch.randn(one.shape, generator=generator) if name.startswith("old_policy/") else one
        for name, one in saved.tensors.items()
    }
    start = save_checkpoint(tmp_path / "run", replace(saved, tensors=tensors, step=400))
    config = small_config(
        rollout={"old_policy_from_step": 401},
        update={"old_policy_decay": 0.5},
        schedule=EVERY_STEP | {"num_steps": 402},
    )
    _, heard = run(config, small_parts(model, tmp_path / "run", config), resume_from=start)
    for done, is_old in zip(heard.of(StepDone), [False, True], strict=True):
        state = load_checkpoint(tmp_path / "run" / f"step-{done.step:06d}").tensors
        policy, before = part_of(state, "policy"), part_of(state, "old_policy")
        old = {name: one.lerp(policy[name], 1 - 0.001 * done.step) for name, one in before.items()}
        pictures = [sample.png for group in done.groups for sample in group.samples]
        assert (pictures == drawn_with(policy, model, config, done.step)) is not is_old
        assert (pictures == drawn_with(old, model, config, done.step)) is is_old


@pytest.mark.parametrize(("per_sigma", "num_updates"), [(True, 3 * 2), (False, 3)])
def test_inner_epochs_go_over_the_same_groups_again_with_other_noise(model, tmp_path, per_sigma, num_updates):
    updates = {"inner_epochs": 3, "per_sigma": per_sigma}
    config = small_config(update=updates, loss={"clip_range": 0.0}, schedule={"num_steps": 1})
    levels = []

    def note_level(module, arguments, keywords):
        if torch.is_grad_enabled():
            levels.append(float(keywords["timestep"][0]))

    hook = model.pipeline.transformer.register_forward_pre_hook(note_level, with_kwargs=True)
    try:
        run(config, small_parts(model, tmp_path, config))
    finally:
        hook.remove()
    assert len(set(levels)) == len(levels) == 3 * 2
    tensors = load_checkpoint(newest_checkpoint(tmp_path), model.identity()).tensors
    counts = {float(value) for name, value in tensors.items() if name.startswith("adam/step/")}
    assert counts == {num_updates}


def test_one_update_over_all_levels_has_the_mean_of_their_gradients(model, tmp_path):
    """As the authors do it. A rate of 0 leaves the policy as it is, so each level's own update shows its gradient."""
    found = {True: [], False: []}
    for per_sigma, gradients in found.items():
        config = small_config(
            loss={"num_sigmas": 3},
            update={"per_sigma": per_sigma, "learning_rate": 0.0, "max_grad_norm": 1000},
            schedule={"num_steps": 1},
        )

        def keep(optimizer, args, kwargs, gradients=gradients):
            parameters = (one for group in optimizer.param_groups for one in group["params"])
            gradients.append(torch.cat([one.grad.flatten() for one in parameters if one.grad is not None]))

        hook = register_optimizer_step_pre_hook(keep)
        try:
            run(config, small_parts(model, tmp_path / str(per_sigma), config))
        finally:
            hook.remove()
    (over_all,), levels = found[False], torch.stack(found[True])
    assert len(levels) == 3
    assert not torch.allclose(levels[0], levels[1])
    torch.testing.assert_close(over_all, levels.mean(0), rtol=0, atol=1e-6 * float(levels.abs().max()))


def test_the_reward_goes_up(model, tmp_path):
    config = small_config(
        rollout={"groups_per_step": 4, "group_size": 8}, schedule={"num_steps": 12, "evaluation_prompts": 2}
    )
    _, heard = run(config, small_parts(model, tmp_path, config))
    rewards = [done.metrics.reward_mean for done in heard.of(StepDone)]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 2 * np.std(rewards[:3])


def test_the_policy_moves_less_in_later_steps_when_the_learning_rate_falls(model, tmp_path):
    """AdamW moves by about the learning rate, whatever the gradient."""
    moved = {}
    for decay_steps in (0, 1):
        config = small_config(update={"decay_steps": decay_steps}, schedule=EVERY_STEP)
        folder = tmp_path / str(decay_steps)
        run(config, small_parts(model, folder, config))
        states = [load_checkpoint(folder / f"step-00000{step}", model.identity()).tensors for step in (1, 2, 3)]
        moved[decay_steps] = [
            sum((new[name] - old[name]).norm() for name in new if name.startswith("policy/"))
            for old, new in pairwise(states)
        ]
    assert all(
        slow == pytest.approx(quick / math.sqrt(1 + step), rel=0.25)
        for step, quick, slow in zip((1, 2), moved[0], moved[1], strict=True)
    )


def test_extremes_alone_are_trained_on_and_the_others_cost_no_training(model, tmp_path):
    evaluations, advantages = [], []
    for extremes in (0, 2):
        config = small_config(schedule={"num_steps": 1}, loss={"extremes": extremes})
        _, heard = run(config, small_parts(model, tmp_path / str(extremes), config))
        (done,) = heard.of(StepDone)
        evaluations.append(done.metrics.network_evaluations)
        advantages.append([[one.advantage for one in group.samples] for group in done.groups])
    drawn = 2 * 2 * 4
    assert evaluations[1] - drawn == (evaluations[0] - drawn) / 2
    for every, chosen in zip(*advantages, strict=True):
        trained = {every.index(max(every)), every.index(min(every))}
        assert {place for place, one in enumerate(chosen) if one} == trained
        assert sum(chosen) == pytest.approx(0, abs=1e-6)
