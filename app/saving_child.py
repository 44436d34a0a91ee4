"""A model saved from the page: the same command as in a terminal, in a process of its own.

Loading a model changes defaults of its libraries for the whole process while it lasts, and takes memory that is given
back for sure only by a process that ends; a live run shall notice neither.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock

from app.child import Child
from app.saving import CUT_SHORT, Wish, saved_in_words, wish_of
from app.settings import UNFINISHED, Settings
from app.store.reader import Reader
from dgpo_core.errors import StoreError


class SavingChild:
    """Saves one model at a time below the lab's folder, each in a new place."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self._settings, self._reader = settings, reader
        self._one_at_a_time = Lock()
        self._begun: tuple[Child, Wish, Path] | None = None
        self._outcome = ""

    def start(self, run_id: int, step: int | None, as_lora: bool) -> None:
        """Begins to save the averaged weights of a checkpoint, the newest where no step is named.

        Raises:
            ExchangeError: there is no such run or checkpoint, or it cannot be saved in this form.
            StoreError: a model is being saved already.
        """
        wish = wish_of(self._reader, run_id, step, as_lora=as_lora)
        with self._one_at_a_time:
            if self._begun is not None and self._begun[0].is_running:
                raise StoreError("A model is being saved already, and one is saved at a time. Wait until that is done.")
            place = _new_place(self._settings.saved_models.resolve(), wish.name)
            form = ["--lora"] * as_lora
            child = Child(self._settings, "save", str(run_id), str(place), "--step", str(wish.step), *form)
            ended, self._begun, self._outcome = self._begun, (child, wish, place), ""
            if ended is not None:
                ended[0].close()

    def words(self) -> str:
        """How the saving begun here stands; empty where none was."""
        if self._begun is None:
            return ""
        child, wish, place = self._begun
        if child.is_running:
            return (
                f"{wish.in_words} is being saved to {place}. For that a process of its own loads the base into main "
                "memory, beside whatever else goes on; a large one takes minutes."
            )
        self._outcome = self._outcome or _outcome(child, wish, place)
        return self._outcome

    def close(self) -> None:
        """Ends a saving that is on; what it has written so far goes."""
        if self._begun is not None:
            self._begun[0].close()


def _outcome(child: Child, wish: Wish, place: Path) -> str:
    """What became of a saving that has ended; from then on the folder is the person's, to move or to delete."""
    if child.has_failed:
        return f"{wish.in_words} was not saved. {child.last_words}"
    if not place.exists() and not child.has_succeeded:
        return f"{wish.in_words} was not saved. {CUT_SHORT}"
    with suppress(FileNotFoundError):  # it was moved away, whole or in part, before anybody looked
        if place.exists():
            return saved_in_words(wish, place)
    return f"{wish.in_words} was saved to {place}, and is not there any more as it was."


def _new_place(folder: Path, name: str) -> Path:
    """A folder of that name, or of that name and a number, that is not there yet."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    places = (folder / one for one in names)
    return next(one for one in places if not one.exists() and not one.with_name(f"{one.name}{UNFINISHED}").exists())
