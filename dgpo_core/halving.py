"""Work that is done again in smaller parts where memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from dgpo_core.errors import ModelError

Result = TypeVar("Result")


def halving(work: Callable[[], Result], size: Callable[[], int], halve: Callable[[], None]) -> Result:
    """What work returns; each time memory runs out in it, it is halved and done again from its beginning.

    size is how many pictures it does at once.

    Raises:
        ModelError: memory runs out for a single picture.
    """
    while True:
        try:
            return work()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size() == 1:
                raise ModelError(
                    f"Memory ran out with one picture at a time: {str(error).splitlines()[0][:200]}. Turn "
                    "model.checkpointing on, set model.quantization or a smaller model.picture_side, or set "
                    "model.text_encoders to offload."
                ) from error
        # Outside the except, whose error keeps every tensor of the failed work alive.
        halve()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def halved_until_it_fits(work: Callable[[int], Result], size: int) -> Result:
    """What work(size) returns, with half the size each time memory runs out in it.

    Raises:
        ModelError: as halving.
    """

    def halve() -> None:
        nonlocal size
        size //= 2

    return halving(lambda: work(size), lambda: size, halve)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or main memory, had no room."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
