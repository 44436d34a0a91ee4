"""What a person says of a group of pictures, in every way it can be said; pictures are numbered from 0.

A label is stored as its kind and a JSON body; label_from_row checks what came from a browser or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dgpo_core.errors import LabelError

Verdict = Literal["first", "second", "both", "neither"]
MOST_STARS = 5


@dataclass(frozen=True, slots=True)
class Ranking:
    """Tiers from best to worst; pictures of one tier are as good, pictures in none are worse than all tiers."""

    tiers: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Picks:
    """The best ones; the others are worse, and all alike."""

    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Likes:
    """Those liked and those disliked; of the others nothing is said."""

    liked: tuple[int, ...]
    disliked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stars:
    """1 to 5 for every picture, None where nothing is said."""

    stars: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Which of two pictures is better; both or neither is a tie."""

    first: int
    second: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Pairs:
    """Verdicts on pairs of the group; of pictures in no pair nothing is said."""

    verdicts: tuple[PairVerdict, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """Seen, and nothing said. The group comes back."""


Label = Ranking | Picks | Likes | Stars | Pairs | Skip
KINDS: dict[str, type[Label]] = {kind.__name__.lower(): kind for kind in get_args(Label)}


def label_to_row(label: Label) -> tuple[str, dict[str, Any]]:
    """Kind and body; label_from_row gives the label back."""
    return type(label).__name__.lower(), asdict(label)


def label_from_row(kind: str, body: Any, size: int) -> Label:
    """The label of a kind and a body, for a group of that many pictures.

    Raises:
        LabelError: an unknown kind, or a body that says nothing, contradicts itself, or names a picture not there.
    """
    if kind not in KINDS:
        raise LabelError(f"There is no label of the kind {str(kind)[:40]!r}. Kinds: {', '.join(KINDS)}.")
    if not isinstance(body, dict):
        raise LabelError(f"A label must have a body, got {str(body)[:40]!r}.")
    label = _READERS[kind](body, size)
    named = _named(label)
    twice = sorted({one for one in named if named.count(one) > 1})
    if twice and not isinstance(label, Pairs):
        raise LabelError(f"A label names each picture once, got {twice[0] + 1} twice. Say it again.")
    return label


def _ranking(body: dict[str, Any], size: int) -> Ranking:
    tiers = tuple(_members(tier, size) for tier in _list(body, "tiers"))
    if not any(tiers) or not all(tiers):
        raise LabelError("A ranking needs at least one picture in every tier. Rank one or more.")
    return Ranking(tiers)


def _picks(body: dict[str, Any], size: int) -> Picks:
    best = _members(body.get("best"), size)
    if not best:
        raise LabelError("Pick at least one picture, or skip the group.")
    return Picks(best)


def _likes(body: dict[str, Any], size: int) -> Likes:
    likes = Likes(_members(body.get("liked"), size), _members(body.get("disliked"), size))
    if not likes.liked and not likes.disliked:
        raise LabelError("Like or dislike at least one picture, or skip the group.")
    return likes


def _stars(body: dict[str, Any], size: int) -> Stars:
    stars = tuple(_list(body, "stars"))
    if len(stars) != size or not all(one is None or (type(one) is int and 1 <= one <= MOST_STARS) for one in stars):
        raise LabelError(f"Stars must be {size} numbers from 1 to {MOST_STARS}, or none, got {str(stars)[:80]}.")
    if all(one is None for one in stars):
        raise LabelError("Give stars to at least one picture, or skip the group.")
    return Stars(stars)


def _pairs(body: dict[str, Any], size: int) -> Pairs:
    verdicts = []
    for one in _list(body, "verdicts"):
        if not isinstance(one, dict) or one.get("verdict") not in get_args(Verdict):
            raise LabelError(f"A verdict must be one of {', '.join(get_args(Verdict))}, got {str(one)[:60]!r}.")
        first, second = _members([one.get("first"), one.get("second")], size)
        if first == second:
            raise LabelError(f"A pair needs two pictures, got {first + 1} twice. Choose another.")
        verdicts.append(PairVerdict(first, second, one["verdict"]))
    judged = [frozenset((one.first, one.second)) for one in verdicts]
    twice = next((pair for pair in judged if judged.count(pair) > 1), None)
    if twice is not None:
        first, second = sorted(twice)
        raise LabelError(
            f"A label judges each pair once, got pictures {first + 1} and {second + 1} twice. Say it again."
        )
    if not verdicts:
        raise LabelError("Judge at least one pair, or skip the group.")
    return Pairs(tuple(verdicts))


_READERS: dict[str, Callable[[dict[str, Any], int], Label]] = {
    "ranking": _ranking,
    "picks": _picks,
    "likes": _likes,
    "stars": _stars,
    "pairs": _pairs,
    "skip": lambda body, size: Skip(),
}


def _named(label: Label) -> list[int]:
    """The pictures that a label names, each as often as it does."""
    if isinstance(label, Ranking):
        return [one for tier in label.tiers for one in tier]
    if isinstance(label, Picks):
        return list(label.best)
    return [*label.liked, *label.disliked] if isinstance(label, Likes) else []


def _list(body: dict[str, Any], name: str) -> Sequence[Any]:
    given = body.get(name)
    if not isinstance(given, list | tuple):
        raise LabelError(f"{name} must be a list, got {str(given)[:40]!r}.")
    return given


def _members(given: Any, size: int) -> tuple[int, ...]:
    if not isinstance(given, list | tuple) or not all(type(one) is int and 0 <= one < size for one in given):
        raise LabelError(f"Pictures of this group are numbered 1 to {size}, got {str(given)[:60]} counted from 0.")
    return tuple(given)
