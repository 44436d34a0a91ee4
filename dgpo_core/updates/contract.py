"""What the loop asks of an algorithm: noise levels to learn at, and a gradient at each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import nan
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dgpo_core.config import RunConfig
from dgpo_core.ema import WeightCopy
from dgpo_core.guidance import guided
from dgpo_core.lesson import Lesson, Tally
from dgpo_core.loss import kl_to_reference
from dgpo_core.models.protocol import Conditioning, Model
from dgpo_core.rollout import UNCONDITIONAL

BeforePart = Callable[[], None]
Rows = slice | Tensor
Level = TypeVar("Level")


class Update(ABC, Generic[Level]):
    """Adds the gradient of a lesson to the policy's parameters, one noise level at a time.

    before_part is called before every micro-batch and may raise to stop.
    """

    def __init__(self, model: Model, config: RunConfig, *, before_part: BeforePart) -> None:
        self._model = model
        self._config = config
        self.micro_batch = config.update.micro_batch
        self._before_part = before_part
        self._parameters: dict[str, nn.Parameter] = model.policy_parameters()
        self.reference: WeightCopy | None = None
        """What the frozen reference was taken anew from; None while that is the model's start."""

    def halve(self) -> None:
        """Does half as many pictures at once from now on; no result changes by it."""
        self.micro_batch = max(1, self.micro_batch // 2)

    @property
    @abstractmethod
    def needs_old_policy(self) -> bool:
        """Whether accumulate() asks for what the old policy says."""

    @abstractmethod
    def levels(self, lesson: Lesson, *, step: int, epoch: int) -> Sequence[Level]:
        """The noise levels of one round over a lesson, each with what is random about it; pure in its arguments."""

    @abstractmethod
    def accumulate(self, lesson: Lesson, level: Level, tally: Tally, old: Tensor | None) -> None:
        """Adds the gradient at one level to .grad, divided by the number of all pictures of the step.

        old is what under_old_policy() gave at this level; None: the policy still is the old policy.
        """

    @abstractmethod
    def measured_kl(self, lesson: Lesson, level: Level, count: int) -> Float[Tensor, " B"]:
        """KL to the reference of the first count pictures, at most a micro-batch, for watching only."""

    @abstractmethod
    def _measure_old(self, lesson: Lesson, level: Level, rows: Rows) -> Float[Tensor, "B ..."]:
        """What is needed of the old policy for some pictures, while its weights are in place."""

    def under_old_policy(self, lesson: Lesson, level: Level, old_policy: WeightCopy) -> Float[Tensor, "B ..."]:
        """What the old policy says of the pictures that this level learns from, nan for others; no gradient."""
        found = None
        with self._under(old_policy):
            for rows in self._parts(lesson):
                self._before_part()
                part = self._measure_old(lesson, level, rows)
                found = part.new_full((len(lesson.clean), *part.shape[1:]), nan) if found is None else found
                found[rows] = part
        assert found is not None
        return found

    @contextmanager
    def _under(self, weights: WeightCopy) -> Iterator[None]:
        """Within this with, the network answers with other weights, and without a gradient."""
        # In half precision merged weights are rounded by as much as a policy moves in a step.
        quick = self._model.drawing() if self._model.is_exact_when_drawing else torch.no_grad()
        with weights.swapped_in(self._parameters), quick:
            yield

    def _parts(self, lesson: Lesson) -> Sequence[Rows]:
        """The pictures that are learned from, a micro-batch at a time."""
        return self._slices(0, len(lesson.clean))

    def _slices(self, start: int, stop: int) -> Sequence[slice]:
        return [slice(at, min(at + self.micro_batch, stop)) for at in range(start, stop, self.micro_batch)]

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float) -> Tensor:
        """The velocity of the weights in place, guided where guidance is not 1."""
        velocity = self._model.velocity(x, sigma, conditioning)
        if guidance == 1:
            return velocity
        unconditional = self._model.encode([UNCONDITIONAL] * len(x))
        return guided(velocity, self._model.velocity(x, sigma, unconditional), guidance)

    def _kl_without_guidance(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Float[Tensor, " B"]:
        reference = self._reference_velocity(x, sigma, conditioning, 1)
        return kl_to_reference(self._model.velocity(x, sigma, conditioning), reference).cpu()

    def _reference(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        return self._reference_velocity(x, sigma, conditioning, self._config.loss.reference_guidance)

    @torch.no_grad()
    def _reference_velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning, guidance: float) -> Tensor:
        with self._model.reference() if self.reference is None else self._under(self.reference):
            return self._velocity(x, sigma, conditioning, guidance)
