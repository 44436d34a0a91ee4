"""Writes the prompt sets for models of the open world: GenEval's style, text to write, and general ones.

    python -m base_model.open_prompt_sets

Each has a train and a held-out part without a prompt in common.
What a prompt asks for stands beside it as JSON, in GenEval's format or as the text to write.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dgpo_core.data.geneval_requests import COLOR_NAMES, RELATIONS, TAGS
from dgpo_core.data.prompts import SHIPPED, check_disjoint

SEED = 2510_08425
NUM_TRAIN, NUM_HELDOUT = 200, 40
"""Prompts of each kind; GenEval's six kinds make 1200 and 240."""
OPENINGS = ("a photo of", "a picture of", "a close-up photo of", "a snapshot of", "an image of")
COUNT_WORDS = {2: "two", 3: "three", 4: "four"}

THINGS = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "computer mouse",
    "tv remote",
    "computer keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]
"""The things that detectors trained on COCO know, less a few whose plural or number is unclear."""
UNCOUNTABLE = {"scissors", "broccoli", "skis", "person"}
COLOURLESS = {"person", "zebra", "giraffe", "orange", "broccoli", "banana", "carrot"}

WRITINGS = (
    'A shop window with the word "{}" in gold letters',
    'A wooden sign by the road that says "{}"',
    'A T-shirt printed with "{}"',
    'The cover of a book called "{}"',
    'A chalkboard in a café that reads "{}"',
    'A neon sign spelling "{}" at night',
    'A birthday cake with "{}" written in icing',
    'A poster on a brick wall with the text "{}"',
    'A coffee mug with the words "{}"',
    'A train station display showing "{}"',
)
FIRST = [
    "Open",
    "Fresh",
    "Daily",
    "Grand",
    "Silent",
    "Golden",
    "Little",
    "Happy",
    "Green",
    "Winter",
    "Summer",
    "Secret",
    "Lucky",
    "Quiet",
    "Royal",
    "Wild",
]
SECOND = [
    "Bakery",
    "Market",
    "Garden",
    "Harbor",
    "Library",
    "Station",
    "River",
    "Planet",
    "Theatre",
    "Museum",
    "Bridge",
    "Orchard",
    "Lantern",
]
SINGLE = [
    "HELLO",
    "THANKS",
    "WELCOME",
    "CLOSED",
    "SALE",
    "EXIT",
    "MUSIC",
    "DREAM",
    "COURAGE",
    "TODAY",
    "SUNDAY",
    "COFFEE",
    "LEMON",
    "ROCKET",
]

SUBJECTS = [
    "an old fisherman",
    "a red fox",
    "a lighthouse",
    "a steam train",
    "a violinist",
    "a market square",
    "a snow leopard",
    "a glass teapot",
    "a mountain village",
    "a robot gardener",
    "a sailing ship",
    "a bowl of ramen",
    "a hot-air balloon",
    "an astronaut",
    "a ballet dancer",
    "a treehouse",
    "a hummingbird",
    "a desert caravan",
    "a blacksmith",
    "a koi pond",
]
PLACES = [
    "in heavy rain",
    "at sunrise",
    "under the northern lights",
    "in a crowded street",
    "on a foggy morning",
    "in a sunlit kitchen",
    "by candlelight",
    "in a field of lavender",
    "after the first snow",
    "at the edge of a cliff",
    "in a quiet library",
    "at low tide",
]
STYLES = [
    "",
    ", oil painting",
    ", watercolour",
    ", studio photograph",
    ", pencil drawing",
    ", wide-angle photograph",
    ", woodcut print",
    ", film still",
    ", isometric illustration",
    ", macro photograph",
]

Line = dict[str, Any]
Draw = Callable[[np.random.Generator], Line]


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


def split(draw: Draw, rng: np.random.Generator, num_train: int, num_heldout: int) -> tuple[list[Line], list[Line]]:
    """Different lines drawn until there are enough: the first to train on, the others held out."""
    lines: dict[str, Line] = {}
    while len(lines) < num_train + num_heldout:
        line = draw(rng)
        lines.setdefault(line["prompt"], line)
    every = list(lines.values())
    return every[:num_train], every[num_train:]


def open_prompt_sets() -> dict[str, list[Line]]:
    """All sets by name; the kinds of GenEval take turns, so that any stretch holds all of them."""
    rng = np.random.default_rng(SEED)
    parts = [split(partial(geneval_line, tag), rng, NUM_TRAIN, NUM_HELDOUT) for tag in TAGS]
    sets = {
        f"geneval-{part}": _in_turns([kinds[index] for kinds in parts])
        for index, part in enumerate(("train", "heldout"))
    }
    for name, draw in (("ocr", ocr_line), ("general", general_line)):
        sets[f"{name}-train"], sets[f"{name}-heldout"] = split(draw, rng, 3 * NUM_TRAIN, 3 * NUM_HELDOUT)
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
