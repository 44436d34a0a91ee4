"""The small model in double precision, lessons for it, and the gradient that an update finds."""

from __future__ import annotations

import torch
from small_model import PROMPTS

from dgpo_core.config import AlgorithmConfig, LossConfig, RunConfig, UpdateConfig
from dgpo_core.groups import group_advantages
from dgpo_core.lesson import Lesson, Tally, TrainingNoise
from dgpo_core.models.protocol import Conditioning
from dgpo_core.rollout import Rollout
from dgpo_core.updates.catalogue import new_update

K, G = 3, 4
SIGMA = torch.tensor(0.8)
SHARED = LossConfig()


class Watched:
    """The model in double precision, counting the pictures it is asked about."""

    def __init__(self, model):
        self.inner, self.num_pictures, self.num_forwards = model, 0, 0
        self.device, self.latent_shape = model.device, model.latent_shape
        self.policy_parameters, self.reference, self.drawing = model.policy_parameters, model.reference, model.drawing
        self.decode, self.features, self.identity = model.decode, model.features, model.identity
        self.is_exact_when_drawing, self.sigma_max = True, model.sigma_max

    def encode(self, prompts):
        known = self.inner.encode(prompts)
        return Conditioning(known.embeddings.double(), known.pooled.double())

    def velocity(self, x, sigma, conditioning):
        self.num_pictures += len(x)
        self.num_forwards += 1
        return self.inner.pipeline.transformer(
            hidden_states=x,
            encoder_hidden_states=conditioning.embeddings,
            pooled_projections=conditioning.pooled,
            timestep=(1000 * sigma).expand(len(x)),
            return_dict=False,
        )[0]


def rollout_of(model, prompts):
    generator = torch.Generator().manual_seed(3)
    clean = torch.randn(len(prompts) * G, *model.latent_shape, generator=generator, dtype=torch.float64)
    return Rollout(
        prompts=tuple(prompts),
        conditioning=model.encode(prompts),
        clean=clean,
        group=torch.arange(len(prompts)).repeat_interleave(G),
        pictures=[],
        seeds=(),
        sampling_seconds=0.0,
        decoding_seconds=0.0,
    )


def lesson_of(model, rewards, **options):
    """A lesson from rewards (K, G); options are those of group_advantages()."""
    rollout = rollout_of(model, PROMPTS[: len(rewards)])
    advantages = group_advantages(rewards.flatten().double(), rollout.group, num_groups=len(rewards), **options)
    return Lesson.of(rollout, advantages, model.encode([""]))


def drawn(lesson, sigma, config=SHARED, **place):
    return TrainingNoise.draw(lesson, sigma, config, **{"run_seed": 0, "step": 0, "index": 0} | place)


def random_rewards(num_groups=K):
    return torch.rand(num_groups, G, generator=torch.Generator().manual_seed(4))


def run_config(loss, micro_batch, algorithm="dgpo", **algorithm_settings):
    return RunConfig(
        algorithm=AlgorithmConfig(name=algorithm, **algorithm_settings),
        loss=loss,
        update=UpdateConfig(micro_batch=micro_batch),
    )


def gradient(model, lesson, loss, micro_batch, old_policy, *, config=None, before_part=lambda: None):
    """The LoRA gradient that an update accumulates at SIGMA, flat, and the tally."""
    parameters = model.policy_parameters()
    for parameter in parameters.values():
        parameter.grad = None
    level = drawn(lesson, SIGMA, loss)
    update = new_update(model, config or run_config(loss, micro_batch), before_part=before_part)
    old = update.under_old_policy(lesson, level, old_policy) if update.needs_old_policy and old_policy else None
    tally = Tally()
    update.accumulate(lesson, level, tally, old)
    found = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters.values()]
    return torch.cat([one.flatten() for one in found]), tally
