"""How often a run was asked to stop: once, it ends saved; once more, it waits for nothing."""

from __future__ import annotations


class Stops:
    """The stops asked of one run. Any thread may ask; where two do at once, one may count for both."""

    def __init__(self) -> None:
        self._count = 0

    def ask(self) -> None:
        """One more stop."""
        self._count += 1

    @property
    def is_asked(self) -> bool:
        """Whether the run is to end."""
        return self._count > 0

    @property
    def is_asked_again(self) -> bool:
        """Whether it is to end even if that loses what is not saved."""
        return self._count > 1
