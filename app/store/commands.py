"""Commands as rows: a kind and a JSON body, both ways."""

from __future__ import annotations

import json
from dataclasses import asdict

from dgpo_core.errors import StoreError
from dgpo_core.events import Command, Compare, Drawing, ExamineNow, Pause, Resume, SampleNow, SaveNow, Stop

_KINDS: dict[str, type[Command]] = {
    kind.__name__: kind for kind in (Pause, Resume, Stop, SaveNow, SampleNow, ExamineNow, Compare)
}


def command_to_row(command: Command) -> tuple[str, str]:
    """The command's kind and its fields as JSON."""
    return type(command).__name__, json.dumps(asdict(command))


def command_from_row(kind: str, body: str) -> Command:
    """The command that command_to_row was given.

    Raises:
        StoreError: a kind that this version of the lab does not know.
    """
    if kind not in _KINDS:
        raise StoreError(f"The database holds a command {kind!r}; known here: {', '.join(_KINDS)}. Upgrade the lab.")
    values = json.loads(body)
    if kind == "SampleNow":
        values["prompts"] = tuple(values["prompts"])
    if kind == "Compare":
        values["drawing"] = Drawing(**values.get("drawing", {}))  # one asked for by an earlier version has none
    return _KINDS[kind](**values)
