"""Offline training: stored groups go through the same loop, and nothing is drawn but examinations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_model import PROMPTS
from small_run import Forwards, numbers_at, run, small_config, small_parts

from dgpo_core.data.stored_groups import StoredGroup, StoredSample
from dgpo_core.events import EvaluationDone, StepDone
from dgpo_core.recall import groups_of_step, recall_groups


@pytest.fixture
def stored(tmp_path):
    """Three groups of four pictures of growing brightness, the rewards the other way round."""
    groups = []
    for number, prompt in enumerate(PROMPTS[:3]):
        samples = []
        for member in range(4):
            file = tmp_path / f"{number}-{member}.png"
            Image.fromarray(np.full((32, 32, 3), 60 * member + 10 * number, dtype=np.uint8)).save(file)
            samples.append(StoredSample(file=file, reward=-float(member), seed=100 * number + member))
        groups.append(StoredGroup(prompt, tuple(samples)))
    return groups


def test_a_step_recalls_groups_with_their_pictures_latents_and_rewards(model, stored):
    rollout = recall_groups(model, stored, count=2, run_seed=0, step=0)
    assert rollout.clean.shape == (8, *model.latent_shape)
    by_prompt = {group.prompt: group for group in stored}
    for index, prompt in enumerate(rollout.prompts):
        rows = slice(4 * index, 4 * index + 4)
        assert rollout.seeds[rows] == tuple(sample.seed for sample in by_prompt[prompt].samples)
        assert [one.reward for one in rollout.judgements[rows]] == [0.0, -1.0, -2.0, -3.0]
        torch.testing.assert_close(rollout.clean[rows], model.encode_pictures(by_prompt[prompt].pictures((32, 32))))
    drawn = {
        prompt for step in range(3) for prompt in recall_groups(model, stored, count=1, run_seed=0, step=step).prompts
    }
    assert drawn == set(by_prompt)


def groups_of_sizes(*sizes):
    sample = StoredSample(file=Path("0.png"), reward=None, seed=0)
    return [StoredGroup(f"prompt {number}", (sample,) * size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_each_step_has_groups_of_one_size_and_each_round_has_every_group_once(count):
    stored = groups_of_sizes(2, 2, 2, 2, 5, 3, 3, 2)
    num_steps = sum(-(-number // count) for number in (5, 1, 2))
    rounds = []
    for lap in range(3):
        steps = [
            groups_of_step(stored, count=count, run_seed=0, step=lap * num_steps + place) for place in range(num_steps)
        ]
        assert all(len({len(group.samples) for group in groups}) == 1 and len(groups) <= count for groups in steps)
        assert sorted(group.prompt for groups in steps for group in groups) == [f"prompt {one}" for one in range(8)]
        rounds.append(steps)
    assert rounds[0] != rounds[1] != rounds[2]


def test_steps_of_a_size_are_as_even_as_whole_groups_can_be():
    stored = groups_of_sizes(3, *[2] * 9)
    steps = [groups_of_step(stored, count=8, run_seed=0, step=step) for step in range(3)]
    assert sorted((len(groups[0].samples), len(groups)) for groups in steps) == [(2, 4), (2, 5), (3, 1)]


def test_stored_groups_are_not_measured_since_no_policy_of_the_run_drew_them(model, tmp_path, stored):
    config = small_config(schedule={"num_steps": 2})
    _, heard = run(config, replace(small_parts(model, tmp_path, config), stored_groups=stored))
    assert [one.quality for one in heard.of(EvaluationDone)] == [(), ()]


def test_a_run_learns_from_stored_groups_and_resumes_bit_for_bit(model, tmp_path, stored):
    schedule = {"num_steps": 3, "checkpoint_every": 1, "checkpoints_kept": 9, "evaluation_prompts": 1}
    config = small_config(schedule=schedule, loss={"num_sigmas": 2, "kl_weight": 0.0, "clip_range": 0.0})
    parts = replace(small_parts(model, tmp_path / "straight", config), stored_groups=stored)
    with Forwards(model) as forwards:
        _, heard = run(config, parts)
    examinations = 2 * config.rollout.num_sampling_steps
    updates, old_policies, watched_kls = 3 * 2, 3 * 1, 3 * 2
    assert forwards.count == examinations + updates + old_policies + watched_kls
    for done in heard.of(StepDone):
        assert {group.prompt for group in done.groups} <= set(PROMPTS[:3])
        assert [sample.reward for sample in done.groups[0].samples] == [0.0, -1.0, -2.0, -3.0]
    states = [numbers_at(tmp_path / "straight" / f"step-{step:06d}", model, config) for step in (1, 3)]
    assert states[0] != states[1]
    again = replace(small_parts(model, tmp_path / "resumed", config), stored_groups=stored)
    run(config, again, resume_from=tmp_path / "straight" / "step-000001")
    assert numbers_at(tmp_path / "resumed" / "step-000003", model, config) == states[1]
