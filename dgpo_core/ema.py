"""Lagging copies of the trained weights, and how to borrow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dgpo_core.errors import CheckpointError

# Parameters that hold borrowed values now, by id. Kept here and not in a copy, because a copy must not
# follow, nor be swapped into, weights that another copy has been swapped into.
_borrowed: set[int] = set()


def old_policy_decay(step: int, *, max_decay: float, slope: float = 0.001) -> float:
    """Share of the old policy kept after this step: rises by slope per step up to max_decay."""
    return min(max_decay, slope * step)


def averaged_decay(step: int, *, max_decay: float) -> float:
    """Share of the averaged weights kept after this step, the first being 0; it rises up to max_decay.

    So the average is over about the last tenth of the run: early it does not lag, late it is steady. The warm-up of
    diffusers' EMAModel.
    """
    return min(max_decay, (1 + step) / (10 + step))


class WeightCopy:
    """A copy of named weights that follows them at a distance: the old policy, the averaged policy."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor]) -> WeightCopy:
        """A copy with the present values, in storage of its own."""
        _refuse_borrowed(parameters, "copied")
        return cls({name: parameter.detach().clone() for name, parameter in parameters.items()})

    @torch.no_grad()
    def follow(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Move to decay * copy + (1 - decay) * parameters, in place.

        Raises:
            ValueError: the parameters have other names than the copy.
            RuntimeError: they hold borrowed values now.
        """
        self._refuse_other_names(parameters)
        _refuse_borrowed(parameters, "followed")
        for name, own in self._tensors.items():
            own.lerp_(parameters[name].detach(), 1 - decay)

    @contextmanager
    def swapped_in(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """Within this with, parameters hold the copy's values; after it their own again, bit for bit.

        They come back from clones, also after an exception. Whatever is written to them within is lost.

        Raises:
            ValueError: the parameters have other names than the copy.
            RuntimeError: they hold borrowed values already; such withs do not nest.
        """
        self._refuse_other_names(parameters)
        _refuse_borrowed(parameters, "borrowed")
        lent = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        marks = {id(parameter) for parameter in parameters.values()}
        _borrowed.update(marks)
        try:
            _write(self._tensors, parameters)
            yield
        finally:
            _write(lent, parameters)
            _borrowed.difference_update(marks)

    def tensors(self) -> dict[str, Tensor]:
        """The copy's values by name, to be saved; not clones, so not to be written to."""
        return dict(self._tensors)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over saved values, on the copy's device.

        Raises:
            CheckpointError: names, shapes or dtypes are not exactly the copy's; then nothing is changed.
        """
        expected, given = (
            {name: f"{list(one.shape)} {one.dtype}" for name, one in side.items()} for side in (self._tensors, tensors)
        )
        wrong = sorted(name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name))
        if wrong:
            name = wrong[0]
            raise CheckpointError(
                f"The saved weights differ from this model's in {len(wrong)} places, first {name}: got "
                f"{given.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}. "
                "Resume with the model and LoRA rank the checkpoint was made with."
            )
        _write(tensors, self._tensors)

    def _refuse_other_names(self, parameters: Mapping[str, nn.Parameter]) -> None:
        if differing := sorted(parameters.keys() ^ self._tensors.keys()):
            raise ValueError(f"{len(differing)} names are in one of copy and parameters only, first {differing[0]}")


@torch.no_grad()
def _write(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        into[name].copy_(value)


def _refuse_borrowed(parameters: Mapping[str, Tensor], verb: str) -> None:
    if any(id(parameter) in _borrowed for parameter in parameters.values()):
        raise RuntimeError(f"weights cannot be {verb} while other weights are swapped in; leave that with first")
