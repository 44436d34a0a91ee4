"""A folder that is taken out of the lab: there when it is whole, and never in the place of another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from app.settings import UNFINISHED
from dgpo_core.errors import ExchangeError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into, which becomes this one at the end; where that fails nothing is left.

    Raises:
        ExchangeError: the folder is not new, or cannot be written.
    """
    if folder.exists():
        raise ExchangeError(f"{folder} is there already. Name a folder that is not.")
    unfinished = folder.with_name(f"{folder.name}{UNFINISHED}")
    try:
        unfinished.mkdir(parents=True)
    except FileExistsError as error:
        raise ExchangeError(
            f"{unfinished} is there already, of an export under way or cut short. Wait for it, or remove it."
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield unfinished
        unfinished.rename(folder)
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unwritable(folder: Path, error: OSError | SafetensorError) -> ExchangeError:
    why = error.strerror if isinstance(error, OSError) else error
    return ExchangeError(f"{folder} cannot be written: {why}. Choose another folder.")
