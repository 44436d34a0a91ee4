"""A race begun from the page: the same command as in a terminal, in a process of its own."""

from __future__ import annotations

from threading import Lock

from app.child import Child
from app.race.plan import load_race
from app.settings import Settings
from app.store.reader import Reader
from dgpo_core.errors import StoreError


class RaceChild:
    """At most one race at a time. Its runs reach the page through the store, as any other process's do."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self._settings, self._reader = settings, reader
        self._one_at_a_time = Lock()
        self._child: Child | None = None
        self._name = ""

    def start(self, name: str) -> None:
        """Begins a race, shipped or a YAML file by its path, or goes on with it where it was cut short.

        Raises:
            ConfigError: there is no such race, or it cannot be run.
            StoreError: a race or a run is live.
        """
        load_race(name)
        with self._one_at_a_time:
            if self._child is not None and self._child.is_running:
                raise StoreError(f"The race {self._name} is on; one at a time. Wait for its end or stop it first.")
            if live := self._reader.live_run():
                raise StoreError(
                    f"Run {live.id} ({live.name}) is live, and would be timed with the race. "
                    "Wait for its end or stop it first."
                )
            ended, self._child, self._name = self._child, Child(self._settings, "race", name), name
            if ended is not None:
                ended.close()

    def stop(self) -> None:
        """Ends the race after its run is saved; it can be gone on with.

        Raises:
            StoreError: no race was begun here.
        """
        if self._child is None or not self._child.is_running:
            raise StoreError("No race that was started on this page is on. Start one first.")
        self._child.stop()

    def words(self) -> str:
        """How the race begun here stands; empty where none was."""
        child = self._child
        if child is None:
            return ""
        if child.is_running:
            return f"The race {self._name} is on. Its runs are on the Train and Runs tabs too."
        if not child.has_failed:
            return f"The race {self._name} has ended."
        return f"The race {self._name} ended early: {child.last_words}"

    def trouble(self) -> str:
        """What keeps the race begun here waiting now, in words; empty when nothing does."""
        return self._child.trouble if self._child is not None else ""

    def close(self) -> None:
        """Ends a race that is on and waits until its run is saved."""
        if self._child is not None:
            self._child.close()
