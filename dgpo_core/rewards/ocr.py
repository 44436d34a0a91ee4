"""Text in pictures: what is read against what was asked for. The reader's models lie in its wheel: it works offline."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dgpo_core.errors import PromptError, RewardError
from dgpo_core.reward_names import OCR_EXTRA
from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.supplies import Supplies

Read = Callable[[Picture], str]
NOTE_KEYS = ("text", "ocr", "target")
"""What a prompt set may call the text that a picture is to show, the first of them that is there."""
QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]|(?<!\w)[\'\u2018]([^\'\u2019]+)[\'\u2019](?!\w)')
LEAST_SIDE = 320
"""Smaller pictures are enlarged before text is looked for; the engine's own 736 reads no better and takes 3 times as
long."""
TRIAL_WORD, TRIAL_MISSPELT = "GARDEN", "GARBEN"


def wanted_text(prompt: str, supplies: Supplies) -> str:
    """The text that a prompt asks for: from its note, else what stands in quotation marks.

    Raises:
        PromptError: there is neither.
    """
    note = supplies.note(prompt)
    noted = next((str(note[key]) for key in NOTE_KEYS if key in note), "")
    quoted = [next(filter(None, found)) for found in QUOTED.findall(prompt)]
    text = noted or " ".join(quoted)
    if not plain_letters(text):
        raise PromptError(
            f"The reward ocr finds no text to read in the prompt {prompt[:80]!r}. Put it in quotation marks, or give "
            'it as "text" beside the prompt in a JSON lines file.'
        )
    return text


def plain_letters(text: str) -> str:
    """The text without spaces, letter case and ways of encoding: what is compared."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def likeness(read: str, wanted: str) -> float:
    """1 minus the edits that turn one text into the other, over the length of the longer: 1 equal, 0 nothing alike.

    Whatever is read beyond the wanted text costs an edit a letter, so that covering a picture with words does not pay.
    """
    one, other = plain_letters(read), plain_letters(wanted)
    longer = max(len(one), len(other))
    return 1 - edits(one, other) / longer if longer else 1.0


def edits(one: str, other: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements of a letter."""
    previous = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        current = [row]
        for column, against in enumerate(other, start=1):
            change = previous[column - 1] + (letter != against)
            current.append(min(previous[column] + 1, current[-1] + 1, change))
        previous = current
    return previous[-1]


class OcrReward:
    """Likeness of the text read in a picture and the text asked for, 0 to 1; letter case and spaces do not count."""

    name = "ocr"

    def __init__(self, supplies: Supplies, read: Read | None = None) -> None:
        """read is the reader; without one, rapidocr is loaded at once, so that a missing extra is said at once."""
        self._supplies = supplies
        self.read = read or _Reader().read

    def check_prompts(self, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            wanted_text(prompt, self._supplies)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        return [self._judged(picture, prompt) for picture, prompt in zip(pictures, prompts, strict=True)]

    def _judged(self, picture: Picture, prompt: str) -> Judgement:
        wanted, read = wanted_text(prompt, self._supplies), self.read(picture)
        reward = likeness(read, wanted)
        words = f"read {read!r}, wanted {wanted!r}" if read else f"read no text, wanted {wanted!r}"
        return Judgement(reward, (("text", reward),), words)

    def trials(self) -> list[Trial]:
        prompt = f'A sign that says "{TRIAL_WORD}"'
        right, wrong, longer = (written(text) for text in (TRIAL_WORD, TRIAL_MISSPELT, f"{TRIAL_WORD} X"))
        return [Trial(right, wrong, prompt), Trial(right, longer, prompt)]


class _Reader:
    """rapidocr, on as many threads as torch has: on more, they would take the time from each other by waiting."""

    def __init__(self) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise RewardError(f"The reward ocr needs rapidocr and onnxruntime. Install them: {OCR_EXTRA}") from error
        self._make = RapidOCR

    @cached_property
    def _engine(self) -> Callable[..., object]:
        return self._make(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Det.limit_type": "min",
                "Det.limit_side_len": LEAST_SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads(),
            }
        )

    def read(self, picture: Picture) -> str:
        """All text of a picture, from top to bottom and left to right, lines joined by spaces."""
        found = self._engine(np.ascontiguousarray(picture))
        return " ".join(getattr(found, "txts", None) or ())


def written(text: str, size: int = 256, font_size: float = 40) -> Picture:
    """Black text on white, in the font that Pillow carries."""
    picture = Image.new("RGB", (size, size), "white")
    font = ImageFont.load_default(size=font_size)
    ImageDraw.Draw(picture).text((size / 2, size / 2), text, fill="black", font=font, anchor="mm")
    return np.asarray(picture)
