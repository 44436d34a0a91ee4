"""What is noted beside groups that the base drew for a race: the settings of the run that drew them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dgpo_core.config import RunConfig, to_dict
from dgpo_core.errors import ConfigError, ExchangeError

NOTE = "drawn-with.json"


def note_drawn(folder: Path, config: RunConfig) -> None:
    """Notes with which settings the groups in a folder were drawn.

    Raises:
        ExchangeError: there is no room for it.
    """
    try:
        (folder / NOTE).write_text(json.dumps(_drawn(config), indent=1))
    except OSError as error:
        raise ExchangeError(
            f"{folder / NOTE} cannot be written: {error.strerror}. Make room, remove {folder}, and race again."
        ) from error


def check_drawn(folder: Path, config: RunConfig) -> None:
    """Raises ConfigError where the groups in a folder were not drawn with these settings, as far as is noted."""
    try:
        noted = json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):
        noted = None
    if noted != _drawn(config):
        raise ConfigError(
            f"{folder} is there, but its groups were not drawn as the race has it. Remove the folder, and they are "
            "drawn anew; or name another one under prepare and for whoever learns from it."
        )


def _drawn(config: RunConfig) -> dict[str, Any]:
    """The settings but for the run's name."""
    return {name: value for name, value in to_dict(config).items() if name != "name"}
