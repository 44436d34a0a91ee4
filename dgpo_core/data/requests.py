"""Requests: what a prompt of the Shapes world asks for, its wording, and the reading of it.

The six categories are GenEval's (Ghosh et al. 2023): single object, two objects, counting,
colors, position, attribution (the colour of each of two objects).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from dgpo_core.data.scenes import COLORS, SHAPES, Thing, place
from dgpo_core.errors import PromptError

CATEGORIES = ("single", "two", "counting", "colors", "position", "attribution")
TURNED = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
RELATIONS = tuple(TURNED)
COUNTS = {"two": 2, "three": 3, "four": 4}
OPENINGS = (
    "",
    *(f"a {medium} of" for medium in ("photo", "picture", "drawing", "painting", "sketch", "print", "poster")),
    "an image of",
    "an icon of",
)
ENDINGS = ("", "on white", "on a white background")
MAX_WORDS = 14


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that must be in the picture; color None leaves the colour free."""

    shape: str
    color: str | None = None

    def __str__(self) -> str:
        return f"{self.color} {self.shape}" if self.color else self.shape


@dataclass(frozen=True, slots=True)
class Request:
    """All that a picture must show, and nothing else may be in it.

    With a relation, the first wanted object lies so from the second.
    """

    category: str
    wanted: tuple[Wanted, ...]
    relation: str | None = None

    def wording(self, opening: str = "", ending: str = "") -> str:
        """The prompt: opening, the request in plain words, ending."""
        return " ".join(part for part in (opening, self._core(), ending) if part)

    def scene(self) -> Request:
        """The one request of all that ask for the same picture: a ring above a cross is a cross below a ring."""
        ordered = tuple(sorted(self.wanted, key=lambda wanted: (wanted.shape, wanted.color or "")))
        relation = TURNED[self.relation] if self.relation and ordered != self.wanted else self.relation
        return Request(self.category, ordered, relation)

    def _core(self) -> str:
        first = self.wanted[0]
        if self.category == "counting":
            word = next(word for word, count in COUNTS.items() if count == len(self.wanted))
            return f"{word} {_plural(first.shape)}"
        joint = self.relation or "and"
        return f" {joint} ".join(f"a {wanted}" for wanted in self.wanted)


def _plural(shape: str) -> str:
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def all_requests(category: str) -> list[Request]:
    """Every request of a category, in a fixed order."""
    pairs = list(permutations(SHAPES, 2))
    if category == "single":
        return [Request(category, (Wanted(shape),)) for shape in SHAPES]
    if category == "two":
        return [Request(category, (Wanted(a), Wanted(b))) for a, b in pairs]
    if category == "counting":
        return [Request(category, (Wanted(shape),) * n) for n, shape in product(COUNTS.values(), SHAPES)]
    if category == "colors":
        return [Request(category, (Wanted(shape, color),)) for shape, color in product(SHAPES, COLORS)]
    if category == "position":
        return [Request(category, (Wanted(a), Wanted(b)), relation) for (a, b), relation in product(pairs, RELATIONS)]
    if category == "attribution":
        return [
            Request(category, (Wanted(a, p), Wanted(b, q)))
            for (a, b), (p, q) in product(pairs, permutations(COLORS, 2))
        ]
    raise ValueError(f"category must be one of {', '.join(CATEGORIES)}; got {category!r}.")


def picture_of(request: Request, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Things that fulfil the request; colours it leaves free are drawn at random."""
    kinds = tuple((wanted.shape, wanted.color or str(rng.choice(list(COLORS)))) for wanted in request.wanted)
    return place(kinds, rng, request.relation)


_THING = rf"an? (?:(?P<color{{0}}>{'|'.join(COLORS)}) )?(?P<shape{{0}}>{'|'.join(SHAPES)})"
_GRAMMAR = re.compile(
    rf"(?:(?:an? )?\w+ of )?(?:"
    rf"(?P<count>{'|'.join(COUNTS)}) (?P<many>{'|'.join(map(_plural, SHAPES))})"
    rf"|{_THING.format(1)}(?: (?P<joint>and|{'|'.join(RELATIONS)}) {_THING.format(2)})?"
    rf")(?: on .+)?"
)


def parse_request(prompt: str) -> Request:
    """The request that a prompt words.

    Raises:
        PromptError: the prompt is not in the grammar of the Shapes world.
    """
    found = _GRAMMAR.fullmatch(" ".join(prompt.lower().replace(".", " ").split()))
    if found is None:
        raise PromptError(
            f"The Shapes world cannot read the prompt {prompt[:80]!r}. It reads 'a red circle', 'three squares', "
            f"'a ring above a cross' or 'a red circle and a blue square', with the shapes {', '.join(SHAPES)} "
            f"and the colours {', '.join(COLORS)}."
        )
    if found["count"]:
        shape = SHAPES[[_plural(shape) for shape in SHAPES].index(found["many"])]
        return Request("counting", (Wanted(shape),) * COUNTS[found["count"]])
    first = Wanted(found["shape1"], found["color1"])
    if found["joint"] is None:
        return Request("colors" if first.color else "single", (first,))
    wanted = (first, Wanted(found["shape2"], found["color2"]))
    if found["joint"] != "and":
        return Request("position", wanted, found["joint"])
    return Request("attribution" if first.color or wanted[1].color else "two", wanted)
