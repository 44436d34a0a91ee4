"""Lessons to gradients: the DGPO update of the policy, exact for any micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dgpo_core.lesson import Lesson, Tally, TrainingNoise
from dgpo_core.loss import (
    gated_error,
    group_preference,
    is_clipped,
    is_pushed_enough,
    kl_to_reference,
    velocity_error,
)
from dgpo_core.updates.noised import NoisedUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A micro-batch as measured; error and kl carry gradient. Its groups are numbered from 0."""

    error: Float[Tensor, " B"]
    reference_error: Float[Tensor, " B"]
    kl: Float[Tensor, " B"] | None
    advantage: Float[Tensor, " B"]
    group: Int[Tensor, " B"]
    clipped: Bool[Tensor, " B"]

    def count(self, tally: Tally) -> None:
        tally.errors.append(self.error.detach().cpu())
        tally.clipped.append(self.clipped.cpu())
        if self.kl is not None:
            tally.kls.append(self.kl.detach().cpu())


class DgpoUpdate(NoisedUpdate):
    """The gradient of docs/method.md eq. 5 to 9."""

    @property
    def needs_old_policy(self) -> bool:
        """Whether errors under the old policy are part of the loss."""
        return self._config.loss.reference == "old_policy" or self._config.loss.clip_range > 0

    @property
    def _needs_reference(self) -> bool:
        return super()._needs_reference or self._config.loss.dual_clip > 0

    def _learn_at(self, lesson: Lesson, level: TrainingNoise, tally: Tally, old: Float[Tensor, " B"] | None) -> None:
        gates = []
        for rows in self._whole_groups(lesson):
            fits = rows.stop - rows.start <= self.micro_batch
            accumulate_groups = self._together if fits else self._in_pieces
            gates.append(accumulate_groups(lesson, level, rows, tally, old))
        tally.gates.append(torch.cat(gates))

    def _together(
        self, lesson: Lesson, level: TrainingNoise, rows: slice, tally: Tally, old_error: Tensor | None
    ) -> Float[Tensor, " K"]:
        """Whole groups in one forward and backward; returns their gates."""
        part = self._measure(lesson, level, rows, old_error)
        gate = self._preference(part, lesson.group_size).sigmoid()
        loss = gated_error(part.error, part.advantage, gate, part.group, part.clipped).sum()
        if part.kl is not None:
            loss = loss + self._config.loss.kl_weight * part.kl.sum()
        (loss / lesson.num_pictures).backward()
        part.count(tally)
        return gate.cpu()

    def _in_pieces(
        self, lesson: Lesson, level: TrainingNoise, rows: slice, tally: Tally, old_error: Tensor | None
    ) -> Float[Tensor, " K"]:
        """One group larger than the micro-batch: its gradient summed piece by piece, then scaled by its gate."""
        parameters = list(self._parameters.values())
        gated, plain = _Gradient(parameters), _Gradient(parameters)
        preference = lesson.advantage.new_zeros(1)
        for piece in self._slices(rows.start, rows.stop):
            part = self._measure(lesson, level, piece, old_error)
            preference += self._preference(part, lesson.group_size)
            if part.kl is not None and self._config.loss.kl_weight > 0:
                plain.add(self._config.loss.kl_weight * part.kl.sum())
            ungated = gated_error(part.error, part.advantage, torch.ones_like(preference), part.group, part.clipped)
            gated.add(ungated.sum())
            part.count(tally)
            del part, ungated  # with them goes the graph, before the next piece builds its own
        gate = preference.sigmoid()
        for parameter, one, other in zip(parameters, gated.parts, plain.parts, strict=True):
            if one is None:
                continue
            gradient = (gate * one if other is None else gate * one + other) / lesson.num_pictures
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return gate.cpu()

    def _preference(self, part: _Part, group_size: int) -> Float[Tensor, " K"]:
        return group_preference(
            part.advantage,
            part.error,
            part.reference_error,
            part.group,
            num_groups=int(part.group[-1]) + 1,
            group_size=group_size,
            preference_beta=self._config.loss.preference_beta,
        )

    def _measure(self, lesson: Lesson, level: TrainingNoise, rows: slice, old_error: Tensor | None) -> _Part:
        self._before_part()
        x, target, conditioning = level.apply(lesson, rows)
        reference = self._reference(x, level.sigma, conditioning) if self._needs_reference else None
        velocity = self._model.velocity(x, level.sigma, conditioning)
        error = velocity_error(velocity, target)
        old = error.detach() if old_error is None else old_error[rows]
        frozen = old if reference is None else velocity_error(reference, target)
        advantage, loss = lesson.advantage[rows], self._config.loss
        clipped = is_clipped(error, old, advantage, loss.clip_range)
        kl = kl_to_reference(velocity, reference) if reference is not None else None
        if kl is not None and loss.clip_kl:
            kl = torch.where(clipped, kl.detach(), kl)
        return _Part(
            error=error,
            reference_error=frozen if loss.reference == "frozen" else old,
            kl=kl,
            advantage=advantage,
            group=lesson.group[rows] - lesson.group[rows.start],
            clipped=clipped | is_pushed_enough(error, frozen, advantage, loss.dual_clip),
        )

    def _whole_groups(self, lesson: Lesson) -> Iterator[slice]:
        """Rows of as many whole groups as fit the micro-batch, at least one group."""
        stride = max(1, self.micro_batch // lesson.group_size) * lesson.group_size
        for start in range(0, len(lesson.clean), stride):
            yield slice(start, min(start + stride, len(lesson.clean)))


class _Gradient:
    """A sum of gradients, one part per parameter; None for one that no loss depends on, as after backward()."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self.parts: list[Tensor | None] = [None] * len(parameters)

    def add(self, loss: Tensor) -> None:
        """Adds the gradient of the loss, keeping the graph for a second one."""
        found = torch.autograd.grad(loss, self._parameters, retain_graph=True, allow_unused=True)
        self.parts = [
            part if gradient is None else gradient if part is None else part + gradient
            for part, gradient in zip(self.parts, found, strict=True)
        ]
