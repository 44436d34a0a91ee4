"""The rewards by name: what each measures, its range, what it needs; and the reading of a mixture of them.

Higher is always better. Nothing is loaded here, so the page and the settings can ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from dgpo_core.errors import ConfigError

PREFERENCE = "preference"
"""The reward that was learned from people's labels, of the version that people.preference names."""
OCR_EXTRA = ".venv/bin/python -m pip install -c constraints.txt -r requirements-ocr.txt"
"""The one line that installs what the reward ocr needs beyond the lab's own requirements."""
MAX_TERMS = 12
HPSV3_SERVER = "python -m pip install hpsv3 && python reward_server.py hpsv3"
"""What starts the server of hpsv3, in an environment of its own that holds a copy of examples/reward_server.py."""
DEQA_SERVER = "python -m pip install transformers==4.36.1 torch accelerate && python reward_server.py deqa"
"""The same for deqa."""
WEIGHT = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
OWN = re.compile(r"(?P<place>[^:*].*):(?P<attribute>[A-Za-z_]\w*)")
"""A person's own reward: a module or a Python file, a colon, and what in it judges."""


@dataclass(frozen=True, slots=True)
class RewardFacts:
    """What a reward measures and between which values; None where there is no end. install is its one pip line.

    usual is where its values mostly lie, in words, where that is not between the ends.

    needs_labels: it was learned from people's labels, and is there only in a run whose settings name what was learned.

    weights names the model it loads, which is fetched on first use unless reward.models_folder holds it.
    """

    about: str
    low: float | None = None
    high: float | None = None
    usual: str = ""
    install: str = ""
    weights: str = ""
    needs_server: bool = False
    needs_labels: bool = False

    @property
    def is_light(self) -> bool:
        """Whether it judges in this process, with nothing that has to be fetched."""
        return not (self.install or self.weights or self.needs_server)

    @property
    def range(self) -> str:
        """The documented range in words."""
        if self.low is None:
            ends = "any number" if self.high is None else f"up to {self.high:g}"
        else:
            ends = f"{self.low:g} and up" if self.high is None else f"{self.low:g} to {self.high:g}"
        return f"{ends}, mostly {self.usual}" if self.usual else ends


REWARD_FACTS: dict[str, RewardFacts] = {
    "shapes_partial": RewardFacts("share of the checks of a Shapes prompt that hold", 0, 1),
    "shapes_strict": RewardFacts("1 where a Shapes picture is right in all, else 0", 0, 1),
    "shapes_tidiness": RewardFacts("how cleanly the things of a Shapes picture are drawn", 0, 1),
    "brightness": RewardFacts("mean luma", 0, 1),
    "colourfulness": RewardFacts("spread of the opponent colours; about 1 is very colourful", 0),
    "sharpness": RewardFacts("share of the picture's contrast that a blur of one pixel takes away", 0, 1),
    "symmetry": RewardFacts("likeness of the left half and the mirrored right half", 0, 1),
    "compressibility": RewardFacts("minus the kilobytes of the picture as JPEG of quality 95", None, 0),
    "incompressibility": RewardFacts("kilobytes of the picture as JPEG of quality 95", 0),
    "ocr": RewardFacts(
        "likeness of the text that is read in the picture and the text asked for; text beyond it counts against it",
        0,
        1,
        install=OCR_EXTRA,
    ),
    "clipscore": RewardFacts(
        "2.5 times the cosine of picture and prompt (Hessel et al. 2021)",
        0,
        2.5,
        weights="openai/clip-vit-large-patch14",
    ),
    "pickscore": RewardFacts(
        "100 times the cosine of picture and prompt, CLIP tuned to choices",
        -100,
        100,
        "about 20",
        weights="yuvalkirstain/PickScore_v1",
    ),
    "hpsv2": RewardFacts(
        "cosine of picture and prompt, CLIP tuned to rankings; whether 2.0 or 2.1 its repository's name does not say: "
        "docs/rewards.md shows how to be sure of 2.1",
        -1,
        1,
        "about 0.3",
        weights="adams-story/HPSv2-hf",
    ),
    "imagereward": RewardFacts(
        "how much people would prefer the picture for its prompt, as BLIP tuned to rankings guesses",
        usual="-2 to 2",
        weights="THUDM/ImageReward",
    ),
    "hpsv3": RewardFacts(
        "what HPSv3 answers at reward.server, from its own package (examples/reward_server.py)",
        usual="0 to 15",
        needs_server=True,
    ),
    "aesthetic": RewardFacts(
        "beauty as the LAION head guesses people's marks of 1 to 10 from CLIP's view of the picture",
        usual="1 to 10",
        weights="shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
    ),
    "deqa": RewardFacts(
        "technical quality as DeQA-Score marks it, answered at reward.server by its model (examples/reward_server.py)",
        1,
        5,
        needs_server=True,
    ),
    "vlm_quality": RewardFacts(
        "technical quality, 1 bad to 5 excellent: the mean over the words a general vision-language model would say, "
        "asked in DeQA-Score's way; not the model DeQA-Score",
        1,
        5,
        weights="Qwen/Qwen2.5-VL-3B-Instruct",
    ),
    "unifiedreward": RewardFacts(
        "final mark of 1 to 5 that UnifiedReward writes, asked in our words and not in those it was tuned on, so not "
        "the marks that papers print",
        1,
        5,
        weights="CodeGoat24/UnifiedReward-qwen-7b",
    ),
    "vlm_judge": RewardFacts(
        "probability that a vision-language model says yes to: does the picture show the prompt?",
        0,
        1,
        weights="Qwen/Qwen2.5-VL-3B-Instruct",
    ),
    "geneval": RewardFacts(
        "share of GenEval's checks that hold: objects, counts, colours, positions",
        0,
        1,
        weights="facebook/mask2former-swin-small-coco-instance",
    ),
    "geneval_strict": RewardFacts(
        "1 where all of GenEval's checks hold, else 0",
        0,
        1,
        weights="facebook/mask2former-swin-small-coco-instance",
    ),
    "remote": RewardFacts("whatever the server at reward.server answers", needs_server=True),
    PREFERENCE: RewardFacts("how much people would like the picture, learned from their labels", needs_labels=True),
}
REWARD_NAMES = tuple(REWARD_FACTS)


@dataclass(frozen=True, slots=True)
class Share:
    """A reward's name, or module:attribute of a person's own, and its weight in a mixture."""

    name: str
    weight: float = 1.0


def parse_mixture(text: str, setting: str) -> tuple[Share, ...]:
    """The rewards that a text names, such as "ocr", "ocr*0.7 + clipscore*0.3" or "my_file.py:my_reward".

    Raises:
        ConfigError: no reward, an unknown one, one twice, or a weight that is zero or no number; setting is named.
    """
    parts = re.split(r"\s+\+\s*|\s*\+\s+", text.strip())
    if len(parts) > MAX_TERMS:
        raise ConfigError(f"{setting} mixes {len(parts)} rewards; at most {MAX_TERMS} are allowed. Use fewer.")
    shares = tuple(_share(part, setting) for part in parts)
    names = [share.name for share in shares]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"{setting} names {twice} twice. Name it once, with the sum of the weights.")
    return shares


def parse_watched(text: str, setting: str) -> tuple[str, ...]:
    """The names in a list separated by commas; none for an empty text.

    Raises:
        ConfigError: a name is unknown or there twice, or has a weight, which does nothing here.
    """
    shares = [_share(part, setting) for part in text.split(",") if part.strip()]
    weighted = next((share.name for share in shares if share.weight != 1), None)
    if weighted:
        raise ConfigError(f"{setting} gives {weighted} a weight, but watched rewards are not mixed. Leave it out.")
    names = tuple(share.name for share in shares)
    if len(set(names)) < len(names):
        raise ConfigError(f"{setting} names a reward twice, got {text[:80]!r}. Name each once.")
    return names


def only_reward(text: str, setting: str) -> str:
    """The one reward that a text names.

    Raises:
        ConfigError: as parse_mixture, or it is a mixture: that is reckoned within groups, which are not there.
    """
    shares = parse_mixture(text, setting)
    if len(shares) > 1 or shares[0].weight != 1:
        raise ConfigError(
            f"{setting} must be one reward without a weight, got {text[:80]!r}: a mixture compares pictures of one "
            "group, and here each prompt has one picture. Put the others into reward.watch."
        )
    return shares[0].name


def is_own(name: str) -> bool:
    """Whether a name is of a person's own reward."""
    return OWN.fullmatch(name) is not None


def _share(part: str, setting: str) -> Share:
    name, star, weight = part.strip().rpartition("*")
    if not star:
        name, weight = part.strip(), "1"
    elif re.fullmatch(WEIGHT, name.strip()):
        name, weight = weight, name
    name, weight = name.strip(), weight.strip()
    if name not in REWARD_FACTS and not is_own(name):
        raise ConfigError(
            f"{setting} names the reward {name[:80]!r}, which does not exist. Allowed: {', '.join(REWARD_NAMES)}, your "
            "own as module:attribute or file.py:attribute, and mixtures such as brightness*0.7 + sharpness*0.3."
        )
    if not re.fullmatch(WEIGHT, weight) or not isfinite(float(weight)) or float(weight) == 0:
        raise ConfigError(f"{setting} gives {name} the weight {weight[:40]!r}. It must be a number other than 0.")
    return Share(name, float(weight))
