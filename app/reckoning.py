"""What memory a run will take, in words: for the command line, and beside the page's form while settings change."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock

from dgpo_core.config import RunConfig


def memory_in_words(config: RunConfig, folder: Path = Path(), *, may_fetch: bool = True) -> str:
    """What memory a run with these settings will take, and what to do where that is more than there is.

    folder is where relative names begin.

    Raises:
        ModelError: there is no such model, or it would have to be fetched first and may not be.
    """
    from dgpo_core.assembly import expected_memory, lacking

    expected = expected_memory(config, folder, may_fetch=may_fetch)
    return f"{expected.in_words()} {lacking(expected)}".rstrip()


class Reckoning:
    """Reckons for pages: one at a time and nothing twice, since each may take seconds; nothing is fetched for it."""

    def __init__(self, folder: Path) -> None:
        self._one_at_a_time = Lock()
        self._known = lru_cache(maxsize=64)(lambda config: memory_in_words(config, folder, may_fetch=False))

    def in_words(self, config: RunConfig) -> str:
        """memory_in_words() of a config that holds no more than memory depends on."""
        with self._one_at_a_time:
            return self._known(config)

    def forget(self) -> None:
        """For when models may have been fetched since."""
        self._known.cache_clear()
