"""Answers that open pages have in common, so that ten pages which ask the same cost the lab one answer.

Nothing is kept beyond a change of the store: an answer belongs to the change token it was asked under, and the first
question under another token empties the shelf. What was worked out after the token was read may be newer than the
token, never older; a page that gets it asks again at its next turn, with a cursor that already has it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Place(Generic[Answer]):
    """Where one answer lies once somebody has worked it out; who wants it meanwhile waits for the lock."""

    lock: Lock = field(default_factory=Lock)
    found: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class _Shelf(Generic[Answer]):
    """What was answered under one token."""

    token: str
    places: dict[Hashable, _Place[Answer]] = field(default_factory=dict)
    size: int = 0


class SharedAnswers(Generic[Answer]):
    """The answers of the store's present state, up to a limit; any thread may ask."""

    def __init__(self, limit: int, size: Callable[[Answer], int]) -> None:
        self._limit = limit
        self._size = size
        self._shelf: _Shelf[Answer] = _Shelf(token="")
        self._lock = Lock()

    @property
    def kept(self) -> int:
        """The size of all that is kept; never more than the limit."""
        return self._shelf.size

    def answer(self, token: str, question: Hashable, work: Callable[[], Answer]) -> Answer:
        """What work returns, or has returned for this question under this token; what it raises is not kept."""
        shelf, place = self._place(token, question)
        with place.lock:
            if not place.found:
                try:
                    place.found.append(work())
                finally:
                    self._keep_or_drop(shelf, question, place)
            return place.found[0]

    def _place(self, token: str, question: Hashable) -> tuple[_Shelf[Answer], _Place[Answer]]:
        with self._lock:
            if token != self._shelf.token:
                self._shelf = _Shelf(token)
            return self._shelf, self._shelf.places.setdefault(question, _Place())

    def _keep_or_drop(self, shelf: _Shelf[Answer], question: Hashable, place: _Place[Answer]) -> None:
        """An answer that failed or does not fit leaves the shelf; who waits at its place is answered all the same."""
        size = self._size(place.found[0]) if place.found else 0
        with self._lock:
            if shelf.places.get(question) is not place:
                return
            if not place.found or shelf.size + size > self._limit:
                del shelf.places[question]
            else:
                shelf.size += size
