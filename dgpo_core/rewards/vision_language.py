"""Vision-language models as judges: a question about each picture, and the reading of what is said to it.

Three readings: the probability of yes (any model), the mean over five words for quality (the way of Q-Align and
DeQA-Score), and the final mark that UnifiedReward writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dgpo_core.rewards.contract import Judgement, Picture, Trial
from dgpo_core.rewards.image_statistics import clean_and_noisy, colour_trials

QUALITY_WORDS = {"bad": 1.0, "poor": 2.0, "fair": 3.0, "good": 4.0, "excellent": 5.0}
FINAL_MARK = re.compile(r"final score\W{0,6}(\d+(?:\.\d+)?)", re.IGNORECASE)
MAX_MARK = 5.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said: the text, and the probabilities of its first word where they are known."""

    text: str
    first: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a picture."""

    picture: Picture
    words: str


class Mouth(Protocol):
    """Something that answers questions about pictures."""

    def answers(self, questions: Sequence[Question], *, num_tokens: int) -> list[Said | str]:
        """What is said to each question, in order; a text says why one could not be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How a judge asks and reads. question has {prompt} where the prompt belongs; read gives None for rubbish."""

    question: str
    read: Callable[[Said], float | None]
    num_tokens: int
    trials: Callable[[], list[Trial]]


def probability_of_yes(said: Said) -> float | None:
    """P(yes) over P(yes) + P(no) for the first word; 1 or 0 by the word itself where probabilities are not known."""
    yes, no = _share(said, "yes"), _share(said, "no")
    if yes + no > 0:
        return yes / (yes + no)
    word = re.search(r"\b(yes|no)\b", said.text.casefold())
    return None if word is None else float(word[1] == "yes")


def quality_level(said: Said) -> float | None:
    """Mean of 1 bad to 5 excellent, weighted by the probabilities of the words; by the word said where unknown."""
    shares = {word: _share(said, word) for word in QUALITY_WORDS}
    total = sum(shares.values())
    if total > 0:
        return sum(share * QUALITY_WORDS[word] for word, share in shares.items()) / total
    word = re.search(rf"\b({'|'.join(QUALITY_WORDS)})\b", said.text.casefold())
    return None if word is None else QUALITY_WORDS[word[1]]


def final_mark(said: Said) -> float | None:
    """The last mark that stands after "Final Score", 1 to 5; None where there is none or it is out of range."""
    marks = FINAL_MARK.findall(said.text)
    mark = float(marks[-1]) if marks else None
    return mark if mark is not None and 1 <= mark <= MAX_MARK else None


def _share(said: Said, word: str) -> float:
    return sum(chance for token, chance in said.first.items() if token.strip().casefold() == word)


MANNERS: dict[str, Manner] = {
    "vlm_judge": Manner(
        'Does this picture show the following? "{prompt}" Check every object, its number, colour and place, and any '
        "text. Answer with one word: yes or no.",
        probability_of_yes,
        num_tokens=1,
        trials=colour_trials,
    ),
    "vlm_quality": Manner(
        "How would you rate the quality of this picture? Answer with one word: excellent, good, fair, poor or bad.",
        quality_level,
        num_tokens=1,
        trials=clean_and_noisy,
    ),
    "unifiedreward": Manner(
        "You are given a caption and a picture that was made from it. Judge how well the picture follows the caption "
        "and how good it looks, on a scale from 1 to 5, where 1 is the worst. First describe what fits and what does "
        "not, then end with a line of the form: Final Score: X\n\nCaption: {prompt}",
        final_mark,
        num_tokens=512,
        trials=colour_trials,
    ),
}


class VisionLanguageReward:
    """A model's opinion of each picture, asked for in a given manner."""

    def __init__(self, name: str, mouth: Mouth) -> None:
        self.name, self._mouth, self._manner = name, mouth, MANNERS[name]

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt can be asked about."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        words = [self._manner.question.replace("{prompt}", prompt) for prompt in prompts]
        questions = [Question(*one) for one in zip(pictures, words, strict=True)]
        return [self._read(said) for said in self._mouth.answers(questions, num_tokens=self._manner.num_tokens)]

    def trials(self) -> list[Trial]:
        return self._manner.trials()

    def _read(self, said: Said | str) -> Judgement:
        if isinstance(said, str):
            return Judgement(None, details=said)
        value = self._manner.read(said)
        if value is None:
            return Judgement(None, details=f"the model said {said.text[:200]!r}, which is no answer to the question")
        return Judgement(value, ((self.name, value),), f"said {said.text[:500]!r}")
