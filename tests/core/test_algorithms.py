"""Every algorithm goes through the same loop: whole steps, moving weights, exact resumes."""

import math
from dataclasses import replace

import pytest
import torch
from small_run import EVERY_STEP, Forwards, numbers_at, run, small_config, small_parts

from dgpo_core.checkpoint import load_checkpoint
from dgpo_core.config import ALGORITHM_NAMES
from dgpo_core.events import StepDone
from dgpo_core.training_state import part_of
from dgpo_core.updates.catalogue import UPDATES

STOCHASTIC = {"sampler": "flow_sde", "num_sampling_steps": 3}


def config_of(name):
    rollout = {"groups_per_step": 2, "group_size": 4, "num_sampling_steps": 3}
    return small_config(
        algorithm={"name": name},
        rollout=rollout | (STOCHASTIC if name == "flow_grpo" else {}),
        loss={"num_sigmas": 2, "sigma_min": 0.3},
        schedule=EVERY_STEP,
    )


def test_the_settings_offer_every_algorithm_there_is():
    assert set(ALGORITHM_NAMES) == set(UPDATES)


@pytest.mark.parametrize("name", ALGORITHM_NAMES)
def test_a_run_moves_the_weights_and_resumes_bit_for_bit(model, tmp_path, name):
    config = config_of(name)
    _, heard = run(config, small_parts(model, tmp_path / "straight", config))
    states = [numbers_at(tmp_path / "straight" / f"step-{step:06d}", model, config) for step in (1, 2, 3)]
    assert len(set(states)) == 3
    for done in heard.of(StepDone):
        assert done.metrics.preference_fraction == 1
        assert math.isfinite(done.metrics.kl)
        assert done.metrics.grad_norm > 0
        assert math.isfinite(done.metrics.gate) == (name == "dgpo")
        assert all(math.isfinite(group.gate) == (name == "dgpo") for group in done.groups)
    parts = small_parts(model, tmp_path / "resumed", config)
    run(config, parts, resume_from=tmp_path / "straight" / "step-000001")
    assert numbers_at(tmp_path / "resumed" / "step-000003", model, config) == states[-1]


@pytest.mark.parametrize("name", ALGORITHM_NAMES)
def test_the_reference_is_taken_anew_at_its_step_and_not_before(model, tmp_path, name):
    config = config_of(name)
    kept = replace(config, loss=replace(config.loss, kl_weight=0.3))
    renewed = replace(config, loss=replace(kept.loss, reference_every=2))
    folders = ((kept, tmp_path / "kept"), (renewed, tmp_path / "straight"))
    heard = [run(one, small_parts(model, folder, one))[1].of(StepDone) for one, folder in folders]
    kls, renewed_kls = ([done.metrics.kl for done in steps] for steps in heard)
    assert renewed_kls[:2] == kls[:2]
    assert renewed_kls[2] != kls[2]
    before, after = (load_checkpoint(tmp_path / "straight" / f"step-{step:06d}").tensors for step in (2, 3))
    assert not part_of(before, "reference")
    reference, averaged = part_of(after, "reference"), part_of(before, "averaged")
    assert reference.keys() == averaged.keys()
    assert all(torch.equal(reference[one], averaged[one]) for one in averaged)
    parts = small_parts(model, tmp_path / "resumed", renewed)
    run(renewed, parts, resume_from=tmp_path / "straight" / "step-000002")
    again = numbers_at(tmp_path / "resumed" / "step-000003", model, renewed)
    assert again == numbers_at(tmp_path / "straight" / "step-000003", model, renewed)


def test_a_renewed_reference_comes_back_after_a_resume(model, tmp_path):
    config = small_config(loss={"reference_every": 2}, schedule=EVERY_STEP | {"num_steps": 4})
    run(config, small_parts(model, tmp_path / "straight", config))
    run(config, small_parts(model, tmp_path / "resumed", config), resume_from=tmp_path / "straight" / "step-000003")
    straight, resumed = (numbers_at(tmp_path / one / "step-000004", model, config) for one in ("straight", "resumed"))
    assert resumed == straight


@pytest.mark.parametrize(
    ("name", "per_level"), [("reward_weighted", 1), ("flow_grpo", 1), ("diffusion_nft", 2), ("diffusion_dpo", 2)]
)
def test_old_policy_is_asked_only_where_it_is_another_and_is_needed(model, tmp_path, name, per_level):
    config = small_config(
        algorithm={"name": name},
        rollout={"groups_per_step": 2, "group_size": 4} | STOCHASTIC,
        loss={"num_sigmas": 2, "sigma_min": 0.3, "kl_weight": 0.0},
        schedule={"num_steps": 1},
    )
    with Forwards(model) as forwards:
        run(config, small_parts(model, tmp_path, config))
    examinations, watched_kl = 2 * 3, 2
    assert forwards.count - examinations - watched_kl == 3 + 1 + per_level
