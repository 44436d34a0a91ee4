"""Examinations: the same held-out prompts and seeds every time, so that scores and pictures can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

import torch
from torch import Tensor

from dgpo_core.config import RolloutConfig
from dgpo_core.data.pictures import png_bytes
from dgpo_core.ema import WeightCopy
from dgpo_core.errors import PromptError
from dgpo_core.events import EvaluationDone, Examined
from dgpo_core.models.protocol import Model
from dgpo_core.rewards.contract import Judgement, Picture, Reward, judge
from dgpo_core.rollout import draw_latents, starting_noise
from dgpo_core.samplers import OnStep
from dgpo_core.seeds import seed_of


class Quality(Protocol):
    """Numbers about pictures that are never trained on."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str], features: Tensor) -> dict[str, float]: ...


Watched = dict[str, tuple[Examined, ...]]
"""The pictures of the watched prompts by watched reward, each picture with that reward as its score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Draws prompts with given weights and has the pictures judged.

    watched rewards judge pictures of watch_prompts, or of the examination where there are none or they are the same;
    nothing is ever trained on what they say. seconds is the time that a reward has; look is called while it is waited
    for, and may raise to stop.
    """

    model: Model
    reward: Reward
    quality: Quality | None
    category_of: Callable[[str], str]
    rollout: RolloutConfig
    batch: int
    watched: Mapping[str, Reward] = field(default_factory=dict)
    watch_prompts: Sequence[str] = ()
    seconds: float = inf
    look: Callable[[], None] | None = None

    def examine(
        self, prompts: Sequence[str], *, seed: int, step: int, weights: WeightCopy | None, on_step: OnStep | None = None
    ) -> EvaluationDone:
        """Scores and quality of one picture per prompt; weights None is the base."""
        return self.examine_and_watch(prompts, seed=seed, step=step, weights=weights, on_step=on_step)[0]

    def examine_and_watch(
        self, prompts: Sequence[str], *, seed: int, step: int, weights: WeightCopy | None, on_step: OnStep | None = None
    ) -> tuple[EvaluationDone, Watched]:
        """As examine(), with the watched rewards' means among the quality, and the pictures they are of."""
        examined, pictures = self._draw(prompts, seed=seed, weights=weights, on_step=on_step)
        quality = self.quality(pictures, prompts, self.model.features(pictures)) if self.quality else {}
        watched: Watched = {}
        if self.watched:
            own = self.watch_prompts or prompts
            if list(own) != list(prompts):
                examined_too, pictures = self._draw(own, seed=seed, weights=weights, on_step=on_step, is_judged=False)
            else:
                examined_too = examined
            watched = {
                name: self._seen_by(name, reward, examined_too, pictures) for name, reward in self.watched.items()
            }
        means = {f"{name} (watched)": _mean(pictures) for name, pictures in watched.items()}
        done = EvaluationDone(
            step=step,
            policy="base" if weights is None else "averaged",
            score=_mean(examined),
            quality=(*quality.items(), *((name, mean) for name, mean in means.items() if mean is not None)),
            samples=examined,
        )
        return done, watched

    def _seen_by(
        self, name: str, reward: Reward, examined: Sequence[Examined], pictures: Sequence[Picture]
    ) -> tuple[Examined, ...]:
        prompts = [one.prompt for one in examined]
        judgements = judge(reward, pictures, prompts, seconds=self.seconds, look=self.look)
        return tuple(
            replace(one, score=judgement.reward, category=name, details=judgement.details)
            for one, judgement in zip(examined, judgements, strict=True)
        )

    def draw(
        self, prompts: Sequence[str], *, seed: int, weights: WeightCopy | None, on_step: OnStep | None = None
    ) -> tuple[Examined, ...]:
        """One judged picture per prompt. The same prompts and seed start from the same noise, whatever the weights.

        Raises:
            PromptError: no prompt, or one that the reward cannot judge.
        """
        return self._draw(prompts, seed=seed, weights=weights, on_step=on_step)[0]

    def _draw(
        self,
        prompts: Sequence[str],
        *,
        seed: int,
        weights: WeightCopy | None,
        on_step: OnStep | None,
        is_judged: bool = True,
    ) -> tuple[tuple[Examined, ...], list[Picture]]:
        if not prompts:
            raise PromptError("There is nothing to draw: no prompt was given. Give at least one.")
        seeds = [seed_of(seed, "examination", index) for index in range(len(prompts))]
        parameters = self.model.policy_parameters()
        noise = starting_noise(seeds, self.model.latent_shape, self.model.device)
        conditioning = self.model.encode(prompts)
        with (
            torch.no_grad(),
            weights.swapped_in(parameters) if weights else nullcontext(),
            self.model.drawing() if weights else self.model.reference(),
        ):
            latents = draw_latents(self.model, conditioning, noise, self.rollout, batch=self.batch, on_step=on_step)
        pictures = self.model.decode(latents)
        judgements = (
            judge(self.reward, pictures, prompts, seconds=self.seconds, look=self.look)
            if is_judged
            else [Judgement(None)] * len(pictures)
        )
        examined = tuple(
            Examined(
                prompt=prompt,
                category=self.category_of(prompt),
                seed=one_seed,
                score=judgement.reward,
                details=judgement.details,
                png=png_bytes(picture),
            )
            for prompt, one_seed, judgement, picture in zip(prompts, seeds, judgements, pictures, strict=True)
        )
        return examined, pictures


def _mean(examined: Sequence[Examined]) -> float | None:
    scores = [one.score for one in examined if one.score is not None]
    return sum(scores) / len(scores) if scores else None


def spread_over(prompts: Sequence[str], count: int, category_of: Callable[[str], str]) -> list[str]:
    """count prompts in their order (all, when there are no more): every category has its share, evenly spaced.

    A category with fewer prompts than its share gives all, and the others give more.
    """
    by_category: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_category.setdefault(category_of(prompt), []).append(index)
    chosen: list[int] = []
    left = max(0, min(count, len(prompts)))
    few_first = sorted(by_category.values(), key=len)
    for number, every in enumerate(few_first):
        share = min(len(every), -(-left // (len(few_first) - number)))
        chosen += [every[place * len(every) // share] for place in range(share)]
        left -= share
    return [prompts[index] for index in sorted(chosen)]
