"""Writes the prompt sets for models of the open world: GenEval's style, text to write, and general ones.

    python -m base_model.open_prompt_sets

Each has a train and a held-out part. No request has wordings in both: every sixth is held out whole, the objects of
GenEval's kinds in any order and place, the text to write in any writing, a thing somewhere in any style.
What a prompt asks for stands beside it as JSON, in GenEval's format or as the text to write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from base_model.open_prompt_words import (
    COLOURLESS,
    COUNT_WORDS,
    FIRST,
    OPENINGS,
    PLACES,
    SECOND,
    SINGLE,
    STYLES,
    SUBJECTS,
    THINGS,
    UNCOUNTABLE,
    WRITINGS,
)
from dgpo_core.data.geneval_requests import COLOR_NAMES, RELATIONS, TAGS
from dgpo_core.data.prompts import SHIPPED, check_disjoint

SEED = 2510_08425
NUM_TRAIN, NUM_HELDOUT = 200, 40
"""Prompts of each kind; GenEval's six kinds make 1200 and 240."""

Line = dict[str, Any]
Draw = Callable[[np.random.Generator], Line]
Request = Callable[[Line], Hashable]
"""What a line asks for, however it is worded: equal for all lines that go into the same part."""


def _with_article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _plural(thing: str) -> str:
    irregular = {"knife": "knives", "sheep": "sheep", "computer mouse": "computer mice", "tv": "tvs"}
    if thing in irregular:
        return irregular[thing]
    return f"{thing}es" if thing.endswith(("s", "sh", "ch", "x")) else f"{thing}s"


def _pick(rng: np.random.Generator, options: list[str], count: int = 1) -> list[str]:
    return [options[index] for index in rng.choice(len(options), count, replace=False)]


def geneval_line(tag: str, rng: np.random.Generator) -> Line:
    """One prompt of a kind with GenEval's metadata."""
    if tag == "single_object":
        [thing] = _pick(rng, list(THINGS))
        [opening] = _pick(rng, list(OPENINGS))
        return _line(tag, f"{opening} {_with_article(thing)}", [_wanted(thing)])
    if tag == "counting":
        [thing] = _pick(rng, [one for one in THINGS if one not in UNCOUNTABLE])
        count = int(rng.integers(2, 5))
        words = f"{_pick(rng, list(OPENINGS))[0]} {COUNT_WORDS[count]} {_plural(thing)}"
        return _line(tag, words, [{"class": thing, "count": count}], [{"class": thing, "count": count + 1}])
    if tag == "colors":
        [thing] = _pick(rng, [one for one in THINGS if one not in COLOURLESS])
        [color] = _pick(rng, list(COLOR_NAMES))
        return _line(tag, f"a photo of {_with_article(f'{color} {thing}')}", [_wanted(thing, color=color)])
    if tag == "color_attr":
        one, other = _pick(rng, [one for one in THINGS if one not in COLOURLESS], 2)
        first, second = _pick(rng, list(COLOR_NAMES), 2)
        words = f"a photo of {_with_article(f'{first} {one}')} and {_with_article(f'{second} {other}')}"
        return _line(tag, words, [_wanted(one, color=first), _wanted(other, color=second)])
    one, other = _pick(rng, list(THINGS), 2)
    if tag == "two_object":
        words = f"a photo of {_with_article(one)} and {_with_article(other)}"
        return _line(tag, words, [_wanted(one), _wanted(other)])
    [relation] = _pick(rng, list(RELATIONS))
    words = f"a photo of {_with_article(one)} {relation} {_with_article(other)}"
    return _line(tag, words, [_wanted(other), _wanted(one, position=[relation, 0])])


def _wanted(thing: str, **more: Any) -> Line:
    return {"class": thing, "count": 1} | more


def _line(tag: str, prompt: str, include: list[Line], exclude: list[Line] | None = None) -> Line:
    return {"prompt": prompt, "tag": tag, "include": include} | ({"exclude": exclude} if exclude else {})


def ocr_line(rng: np.random.Generator) -> Line:
    """One prompt that asks for a text, and the text."""
    [writing] = _pick(rng, list(WRITINGS))
    kind = rng.integers(3)
    text = _pick(rng, SINGLE)[0] if kind == 0 else f"{_pick(rng, FIRST)[0]} {_pick(rng, SECOND)[0]}"
    text = text.upper() if kind == 1 else text
    return {"prompt": writing.format(text), "text": text}


def general_line(rng: np.random.Generator) -> Line:
    """One prompt about something somewhere, in some style."""
    subject, place, style = (_pick(rng, list(words))[0] for words in (SUBJECTS, PLACES, STYLES))
    return {"prompt": f"{subject} {place}{style}"}


def objects_asked(line: Line) -> Hashable:
    """What a line of GenEval asks for: its kind and its objects, in any order and place."""
    wanted = ((one["class"], one["count"], one.get("color", "")) for one in line["include"])
    return line["tag"], tuple(sorted(wanted))


def text_asked(line: Line) -> Hashable:
    """The text to write; whether in capitals does not count, as it does not for the reward."""
    return line["text"].casefold()


def scene_asked(line: Line) -> Hashable:
    """What is to be seen and where, without the style."""
    return line["prompt"].partition(",")[0]


def split(
    draw: Draw, request_of: Request, rng: np.random.Generator, num_train: int, num_heldout: int
) -> tuple[list[Line], list[Line]]:
    """Different lines drawn until there are enough: those to train on, and those held out.

    Requests are held out whole: the last of every (num_train + num_heldout) / num_heldout new ones.
    """
    train: dict[str, Line] = {}
    heldout: dict[str, Line] = {}
    every = (num_train + num_heldout) // num_heldout
    numbers: dict[Hashable, int] = {}
    while len(train) < num_train or len(heldout) < num_heldout:
        line = draw(rng)
        number = numbers.setdefault(request_of(line), len(numbers) + 1)
        part, limit = (train, num_train) if number % every else (heldout, num_heldout)
        if len(part) < limit:
            part.setdefault(line["prompt"], line)
    return list(train.values()), list(heldout.values())


def open_prompt_sets() -> dict[str, list[Line]]:
    """All sets by name; the kinds of GenEval take turns, so that any stretch holds all of them."""
    rng = np.random.default_rng(SEED)
    parts = [split(partial(geneval_line, tag), objects_asked, rng, NUM_TRAIN, NUM_HELDOUT) for tag in TAGS]
    sets = {
        f"geneval-{part}": _in_turns([kinds[index] for kinds in parts])
        for index, part in enumerate(("train", "heldout"))
    }
    others: tuple[tuple[str, Draw, Request], ...]
    others = (("ocr", ocr_line, text_asked), ("general", general_line, scene_asked))
    for name, draw, request_of in others:
        train, heldout = split(draw, request_of, rng, 3 * NUM_TRAIN, 3 * NUM_HELDOUT)
        sets[f"{name}-train"], sets[f"{name}-heldout"] = train, heldout
    return sets


def _in_turns(kinds: list[list[Line]]) -> list[Line]:
    placed = [
        ((place + 0.5) / len(lines), number, line)
        for number, lines in enumerate(kinds)
        for place, line in enumerate(lines)
    ]
    return [line for *_, line in sorted(placed, key=lambda one: one[:2])]


def write_open_prompt_sets(folder: Path = SHIPPED) -> None:
    """All files: JSON lines where something stands beside the prompts, else plain text."""
    sets = open_prompt_sets()
    for name in ("geneval", "ocr", "general"):
        check_disjoint(*([line["prompt"] for line in sets[f"{name}-{part}"]] for part in ("train", "heldout")))
    for name, lines in sets.items():
        is_plain = all(len(line) == 1 for line in lines)
        texts = [line["prompt"] if is_plain else json.dumps(line, ensure_ascii=False) for line in lines]
        path = folder / f"{name}.{'txt' if is_plain else 'jsonl'}"
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_open_prompt_sets()
