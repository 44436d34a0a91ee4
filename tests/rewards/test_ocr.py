"""The reward for text in pictures: the reckoning with known readings, and the real engine on rendered words."""

import sys
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from dgpo_core.errors import PromptError, RewardError
from dgpo_core.reward_names import OCR_EXTRA
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.ocr import OcrReward, edits, likeness, wanted_text, written
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies

TEXT = st.text("abcé Z9!", max_size=8)
WORDS = """
open cafe library garden winter planet mirror sunday coffee bridge quartz violet harbor signal copper meadow rocket
lantern basil thunder market bakery museum station orange silver castle window summer forest river island engine
pencil teapot candle velvet marble pepper walnut anchor autumn balloon bamboo banner barrel basket beacon blanket
blossom bottle bronze bucket butter button cabin cactus camera canyon carpet cavern cellar cereal chapel cherry
chimney cinema circle citrus cliff clover cobalt comet compass coral cotton cradle crystal curtain cushion cypress
daisy desert diamond dolphin dragon drawer eagle eclipse elbow ember emerald falcon feather fiddle finger flute
fountain fossil galaxy garlic ginger glacier goblet granite grape guitar hammer hazel helmet honey horizon hunter
icicle indigo ivory jacket jasmine jigsaw journey jungle kettle kitchen kiwi ladder lagoon lemon lily lizard lobster
locket lotus magnet mango maple meteor mint monkey mosaic mountain mustard napkin needle nickel nutmeg oasis ocean
olive onyx orchard orchid otter oyster paddle panther parcel peach pebble pigeon pillow pirate plaza pocket poppy
prism pumpkin puzzle pyramid quilt rabbit radish raven ribbon robin saddle saffron sailor salmon scarf shadow sketch
spider spruce squirrel statue sugar sunset swallow temple tiger timber tulip tunnel turtle umbrella vanilla village
violin volcano waffle
""".split()  # noqa: SIM905 - two hundred strings in quotes would be hard to read
SIDE, LETTER = 320, 48


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('a sign that says "Open 24 h"', "Open 24 h"),
        ("a shop called “Zur Post”", "Zur Post"),
        ("a cat's mug with 'HELLO' on it", "HELLO"),
        ('"One" above "Two"', "One Two"),
        ("un panneau «Sortie»", "Sortie"),
    ],
)
def test_the_wanted_text_stands_in_quotation_marks(prompt, text):
    assert wanted_text(prompt, Supplies()) == text


def test_the_note_goes_before_the_quotation_marks():
    supplies = Supplies(notes={'a "b"': {"text": "real"}})
    assert wanted_text('a "b"', supplies) == "real"


def test_a_prompt_without_text_is_refused_beforehand():
    with pytest.raises(PromptError, match="finds no text to read in the prompt 'a cat'"):
        OcrReward(Supplies(), read=lambda picture: "").check_prompts(['"a"', "a cat"])


@pytest.mark.parametrize(
    ("read", "wanted", "reward"),
    [
        ("GARDEN", "Garden", 1),
        ("o p e n", "Open", 1),
        ("", "open", 0),
        ("opan", "open", 0.75),
        ("open open", "open", 0.5),
        ("open now we have everything", "open", 4 / 23),
        ("\uff2f\uff30\uff25\uff2e", "open", 1),
    ],
)
def test_likeness_by_known_answers_with_extra_text_counted(read, wanted, reward):
    assert likeness(read, wanted) == pytest.approx(reward)


@given(TEXT, TEXT, TEXT)
def test_edits_are_a_distance(one, other, third):
    assert (edits(one, other) == 0) == (one == other)
    assert edits(one, other) == edits(other, one)
    assert edits(one, third) <= edits(one, other) + edits(other, third)
    assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))


@given(TEXT, TEXT)
def test_likeness_is_between_0_and_1_and_1_only_for_the_same_letters(read, wanted):
    value = likeness(read, wanted)
    assert 0 <= value <= 1
    assert (value == 1) == ("".join(read.casefold().split()) == "".join(wanted.casefold().split()))


def clean_fonts() -> list:
    """Pillow's own font, and those of Gradio's wheel that have all letters."""
    import gradio

    places = sorted(Path(gradio.__file__).parent.glob("templates/frontend/static/fonts/*/*-Regular.woff2"))
    fonts = [ImageFont.truetype(str(place), LETTER) for place in places if "Press" not in place.name]
    letters = "abcdefghijklmnopqrstuvwxyz"
    whole = [font for font in fonts if len({bytes(font.getmask(letter)) for letter in letters}) == len(letters)]
    return [ImageFont.load_default(size=LETTER), *whole]


def rendered(words, font, shade):
    """A picture of the words, one below the other."""
    picture = Image.new("RGB", (SIDE, SIDE), shade)
    pen, ink = ImageDraw.Draw(picture), tuple(255 - one for one in shade)
    for line, word in enumerate(words):
        pen.text((SIDE / 2, SIDE * (line + 0.5) / len(words)), word, fill=ink, font=font, anchor="mm")
    return np.asarray(picture)


def read_words(engine, words, picture):
    """What is read of each word; nothing of any where it is not told apart how many there are."""
    found = engine.read(picture).split()
    return found if len(found) == len(words) else [""] * len(words)


def test_a_missing_extra_is_said_with_its_line_before_anything_is_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(RewardError) as refused:
        new_reward("ocr")
    assert str(refused.value) == f"The reward ocr needs rapidocr and onnxruntime. Install them: {OCR_EXTRA}"


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("rapidocr", reason="the extra of requirements-ocr.txt is not installed")
    return OcrReward(Supplies())


def test_the_engine_passes_its_self_test(engine):
    outcome = self_test(engine)
    assert outcome.passed, outcome.words
    assert outcome.rewards[0][0] == 1


def test_a_picture_without_text_scores_zero(engine):
    blank = np.full((64, 64, 3), 200, np.uint8)
    assert judge(engine, [blank], ['"HELLO"'])[0].reward == 0


@pytest.mark.parametrize("size", [64, 160, 400])
def test_pictures_of_any_size_are_read(engine, size):
    picture = written("OPEN", size, size / 5)
    judged = judge(engine, [picture], ['"Open"'])[0]
    assert (judged.reward, judged.details) == (1, "read 'OPEN', wanted 'Open'")


def misspelt(word, rng):
    """The word with one letter replaced by another."""
    place = int(rng.integers(len(word)))
    others = [letter for letter in ascii_lowercase if letter != word[place]]
    return word[:place] + others[int(rng.integers(len(others)))] + word[place + 1 :]


@pytest.fixture(scope="module")
def read(engine):
    """What is read of 200 different words, every third in capitals, and of 50 of them misspelt; five to a picture."""
    rng, fonts, shades = np.random.default_rng(0), clean_fonts(), ((255, 255, 255), (20, 30, 60))
    right = [word.upper() if index % 3 == 0 else word for index, word in enumerate(WORDS)]
    wrong = [misspelt(word, rng) for word in WORDS[::4]]
    sheets = [[*right, *wrong][start : start + 5] for start in range(0, 250, 5)]
    assert len(set(WORDS)) == len(WORDS) == 200
    assert len(fonts) >= 4
    found = [
        reading
        for index, sheet in enumerate(sheets)
        for reading in read_words(engine, sheet, rendered(sheet, fonts[index % len(fonts)], shades[index % 2]))
    ]
    return found[:200], found[200:]


@pytest.mark.slow
def test_200_rendered_words_are_read_and_no_wrong_word_is_above_a_right_one(read):
    right = [likeness(reading, word) for reading, word in zip(read[0], WORDS, strict=True)]
    # The same readings against the other words of the list: what pictures of wrong words would score.
    wrong = [
        max(likeness(reading, other) for other in WORDS if other != word)
        for reading, word in zip(read[0], WORDS, strict=True)
    ]
    assert sum(reward == 1 for reward in right) >= 190
    assert all(one > other for one, other in zip(right, wrong, strict=True))


@pytest.mark.slow
def test_a_rendered_word_with_one_wrong_letter_scores_below_the_right_one(read):
    rights = [likeness(reading, word) for reading, word in zip(read[0], WORDS, strict=True)][::4]
    wrongs = [likeness(reading, word) for reading, word in zip(read[1], WORDS[::4], strict=True)]
    assert all(wrong <= right for wrong, right in zip(wrongs, rights, strict=True))
    below = sum(wrong < right for wrong, right in zip(wrongs, rights, strict=True))
    assert below >= 49, "of 50: one right word, NUTMEG, is itself read with a wrong letter"
