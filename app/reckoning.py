"""What memory a run will take, in words, for the command line and the page's form; and what it took, for its diary."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from dgpo_core.config import RunConfig
from dgpo_core.events import Event, MemoryTaken, RunEnded, StepDone

if TYPE_CHECKING:
    from dgpo_core.models.memory import Memory

Hear = Callable[[Event], None]
PeakBytes = Callable[[], tuple[int, int]]
"""The most bytes taken so far, and the most that were held for it."""
Peak = Callable[[], PeakBytes | None]
"""Begins to watch; None where that cannot be."""


def memory_in_words(config: RunConfig, folder: Path = Path(), *, may_fetch: bool = True) -> str:
    """What memory a run with these settings will take, and what to do where that is more than there is.

    folder is where relative names begin.

    Raises:
        ModelError: there is no such model, or it would have to be fetched first and may not be.
    """
    from dgpo_core.assembly import expected_memory, lacking

    expected = expected_memory(config, folder, may_fetch=may_fetch)
    return f"{expected.in_words()} {lacking(expected)}".rstrip()


def gpu_peak() -> PeakBytes | None:
    """Reads the most memory taken on the GPU from now on, beside what others there hold; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    torch.cuda.init()
    gc.collect()
    torch.cuda.empty_cache()  # what an earlier run left would count as this one's
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return lambda: (torch.cuda.max_memory_allocated() - held, torch.cuda.max_memory_reserved())


class MemoryWatch:
    """What a run takes beside what was expected of it, told after the first step that it does here and at its end.

    Where no peak can be read nothing is expected or told: what a process holds of main memory is not a run's alone.
    """

    def __init__(self, config: RunConfig, folder: Path, peak: PeakBytes | None) -> None:
        self._peak, self._is_first_told = peak, False
        self._expected: Memory | None = None
        if peak is not None:
            from dgpo_core.assembly import expected_memory

            self._expected = expected_memory(config, folder)

    def cautions(self) -> list[str]:
        """A sentence where the run is expected to take more than the GPU has free."""
        from dgpo_core.assembly import lacking

        lack = lacking(self._expected) if self._expected else ""
        return [f"{self._expected.in_words()} {lack}"] if self._expected and lack else []

    def beside(self, emit: Hear) -> Hear:
        """The same ears for a run's events, which hear of its memory too."""

        def hear(event: Event) -> None:
            if isinstance(event, RunEnded) and self._is_first_told:
                self._tell(emit, event.step)
            emit(event)
            if isinstance(event, StepDone) and not self._is_first_told:
                self._tell(emit, event.step)
                self._is_first_told = True

        return hear

    def _tell(self, emit: Hear, step: int) -> None:
        if self._peak is None or self._expected is None:
            return
        taken, pool = self._peak()
        expected, uncounted = self._expected.peak, self._expected.uncounted
        emit(MemoryTaken(step=step, taken=taken, pool=pool, expected=expected, uncounted=uncounted))


class Reckoning:
    """Reckons for pages: one at a time and nothing twice, since each may take seconds; nothing is fetched for it."""

    def __init__(self, folder: Path, peak: Peak = gpu_peak) -> None:
        self._folder, self._peak = folder, peak
        self._one_at_a_time = Lock()
        self._known = lru_cache(maxsize=64)(lambda config: memory_in_words(config, folder, may_fetch=False))

    def in_words(self, config: RunConfig) -> str:
        """memory_in_words() of a config that holds no more than memory depends on."""
        with self._one_at_a_time:
            return self._known(config)

    def forget(self) -> None:
        """For when models may have been fetched since."""
        self._known.cache_clear()

    def watch(self, config: RunConfig) -> MemoryWatch:
        """For a run with these settings, which begins now."""
        return MemoryWatch(config, self._folder, self._peak())
