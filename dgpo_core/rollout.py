"""Prompts to groups of pictures: the rollout of one step, by an ODE sampler."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dgpo_core.baselines.flow_grpo import TRANSITIONS, Path, sample_path
from dgpo_core.config import STOCHASTIC_SAMPLERS, RolloutConfig
from dgpo_core.guidance import guided
from dgpo_core.models.protocol import Conditioning, Model
from dgpo_core.rewards.contract import Judgement, Picture
from dgpo_core.samplers import SAMPLERS, OnStep
from dgpo_core.schedules import linear_sigmas
from dgpo_core.seeds import generator_for, seed_of

UNCONDITIONAL = ""
One = TypeVar("One")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """K groups of G pictures, group-major: clean latents, the pictures, and what they were drawn from.

    path is there where a stochastic sampler drew, judgements where the pictures were judged before.
    """

    prompts: tuple[str, ...]
    conditioning: Conditioning
    clean: Float[Tensor, "B C H W"]
    group: Int[Tensor, " B"]
    pictures: list[Picture]
    seeds: tuple[int, ...]
    sampling_seconds: float
    decoding_seconds: float
    path: Path | None = None
    judgements: tuple[Judgement, ...] | None = None

    @property
    def prompt_per_picture(self) -> list[str]:
        return [self.prompts[index] for index in self.group.tolist()]


def of_step(every: Sequence[One], *, step: int, count: int, run_seed: int) -> tuple[One, ...]:
    """The prompts, say, of a step: all in a new random order each time round, a pure function of its arguments."""
    first, last = step * count, (step + 1) * count - 1
    laps = range(first // len(every), last // len(every) + 1)
    order = torch.cat([torch.randperm(len(every), generator=generator_for(run_seed, "prompts", lap)) for lap in laps])
    skipped = first - laps.start * len(every)
    return tuple(every[place] for place in order[skipped : skipped + count].tolist())


def starting_noise(seeds: Sequence[int], shape: tuple[int, int, int], device: torch.device) -> Float[Tensor, "B C H W"]:
    """One noise picture per seed, drawn on the CPU so that it is the same on every device."""
    draws = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(draws).to(device)


def sampling_sigmas(model: Model, config: RolloutConfig) -> Float[Tensor, " levels"]:
    """The grid that pictures are drawn on: from the noisiest level that the model knows, 1 for a flow, down to 0."""
    return linear_sigmas(config.num_sampling_steps, config.sigma_shift) * model.sigma_max


def draw_latents(
    model: Model,
    conditioning: Conditioning,
    noise: Float[Tensor, "B C H W"],
    config: RolloutConfig,
    *,
    batch: int,
    on_step: OnStep | None = None,
) -> Float[Tensor, "B C H W"]:
    """Clean latents at the end of the ODE. Draws with whatever weights the model holds, batch pictures at a time.

    A stochastic sampler has euler in its place here.
    """
    sampler = SAMPLERS[config.ode_sampler]
    sigmas = sampling_sigmas(model, config)
    parts = []
    for start in range(0, len(noise), batch):
        rows = slice(start, start + batch)
        velocity = _Velocity(model, conditioning.select(rows), config.guidance_scale)
        parts.append(sampler(velocity, model.sigma_max * noise[rows], sigmas, on_step=on_step))
    return torch.cat(parts)


def draw_paths(
    model: Model,
    conditioning: Conditioning,
    seeds: Sequence[int],
    config: RolloutConfig,
    *,
    batch: int,
    on_step: OnStep | None = None,
) -> Path:
    """Paths of a stochastic sampler, each from its own seed alone; the first point is that of starting_noise()."""
    sigmas = sampling_sigmas(model, config)
    noise = model.sigma_max * starting_noise(seeds, model.latent_shape, model.device)
    parts = []
    for start in range(0, len(noise), batch):
        rows = slice(start, start + batch)
        parts.append(
            sample_path(
                _Velocity(model, conditioning.select(rows), config.guidance_scale),
                noise[rows],
                sigmas,
                transition=TRANSITIONS[config.sampler],
                noise_level=config.noise_level,
                generators=[generator_for(seed, "path") for seed in seeds[rows]],
                on_step=on_step,
            )
        )
    return Path.joined(parts)


class _Velocity:
    """The model's velocity for one batch of prompts, guided where guidance is asked for."""

    def __init__(self, model: Model, conditioning: Conditioning, scale: float) -> None:
        self._model, self._conditioning, self._scale = model, conditioning, scale
        self._unconditional = model.encode([UNCONDITIONAL] * len(conditioning)) if scale > 1 else None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        conditional = self._model.velocity(x, sigma, self._conditioning)
        if self._unconditional is None:
            return conditional
        return guided(conditional, self._model.velocity(x, sigma, self._unconditional), self._scale)


def draw_groups(
    model: Model,
    prompts: tuple[str, ...],
    config: RolloutConfig,
    *,
    run_seed: int,
    step: int,
    batch: int,
    on_step: OnStep | None = None,
) -> Rollout:
    """The groups of a step, drawn with the weights the model holds now."""
    size = config.group_size
    seeds = tuple(
        seed_of(run_seed, "picture", step, index, member) for index in range(len(prompts)) for member in range(size)
    )
    group = torch.arange(len(prompts)).repeat_interleave(size)
    conditioning = model.encode(prompts)
    per_picture = conditioning.select(group)
    path = None
    started = time.monotonic()
    if config.sampler in STOCHASTIC_SAMPLERS:
        # The probabilities of a path are compared with those in training, so rounding must be the same.
        with model.drawing() if model.is_exact_when_drawing else torch.no_grad():
            path = draw_paths(model, per_picture, seeds, config, batch=batch, on_step=on_step)
        clean = path.clean
    else:
        with model.drawing():
            noise = starting_noise(seeds, model.latent_shape, model.device)
            clean = draw_latents(model, per_picture, noise, config, batch=batch, on_step=on_step)
    drawn = time.monotonic()
    pictures = model.decode(clean)
    return Rollout(
        prompts=prompts,
        conditioning=conditioning,
        clean=clean,
        group=group,
        pictures=pictures,
        seeds=seeds,
        sampling_seconds=drawn - started,
        decoding_seconds=time.monotonic() - drawn,
        path=path,
    )
