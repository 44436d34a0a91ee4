"""GenEval's way of saying what a picture must show (Ghosh et al. 2023): the metadata beside a prompt, read and checked.

{"tag": "color_attr", "include": [{"class": "dog", "count": 1, "color": "red"}, ...], "exclude": [...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dgpo_core.errors import PromptError

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLOR_NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
MAX_COUNT = 16


@dataclass(frozen=True, slots=True)
class Demand:
    """So many objects of a class, of a colour if one is named, in a relation to those of another demand if so."""

    object_class: str
    count: int = 1
    color: str | None = None
    relation: str | None = None
    target: int | None = None


@dataclass(frozen=True, slots=True)
class GenEvalRequest:
    """All that must be there, and from how many on an object is too much."""

    tag: str
    include: tuple[Demand, ...]
    exclude: tuple[Demand, ...] = ()


def read_request(note: Mapping[str, Any], prompt: str) -> GenEvalRequest:
    """The request in a prompt's metadata.

    Raises:
        PromptError: it has none, or it is not of GenEval's form; the prompt is named.
    """
    if not isinstance(note.get("include"), list) or not note["include"]:
        raise PromptError(
            f"GenEval has no include list beside the prompt {prompt[:80]!r}. Give prompts as JSON lines in GenEval's "
            "format, such as those of the sets geneval-train and geneval-heldout."
        )
    include = tuple(_demand(one, prompt, len(note["include"])) for one in note["include"])
    exclude = tuple(_demand(one, prompt, 0) for one in note.get("exclude") or [])
    return GenEvalRequest(str(note.get("tag", "")), include, exclude)


def _demand(value: Any, prompt: str, num_demands: int) -> Demand:
    where = f"GenEval cannot read {str(value)[:80]!r} beside the prompt {prompt[:60]!r}:"
    if not isinstance(value, Mapping) or not isinstance(value.get("class"), str):
        raise PromptError(f"{where} it names no class. Write an object with class and count.")
    count, color, position = value.get("count", 1), value.get("color"), value.get("position")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_COUNT:
        raise PromptError(f"{where} count must be 1 to {MAX_COUNT}.")
    if color is not None and color not in COLOR_NAMES:
        raise PromptError(f"{where} color must be one of {', '.join(COLOR_NAMES)}.")
    if position is None:
        return Demand(value["class"], count, color)
    is_pair = isinstance(position, list | tuple) and len(position) == 2
    if not is_pair or position[0] not in RELATIONS or position[1] not in range(num_demands):
        raise PromptError(f'{where} position must be ["{RELATIONS[0]}", number of an include], or another relation.')
    return Demand(value["class"], count, color, position[0], int(position[1]))
