"""What the models of rewards weigh, reckoned from configurations that lie here: nothing is loaded or fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from dgpo_core.config import RunConfig
from dgpo_core.errors import RewardError
from dgpo_core.models.memory import numel
from dgpo_core.reward_names import PREFERENCE, REWARD_FACTS, is_own, parse_mixture, parse_watched
from dgpo_core.rewards.image_reward import is_used
from dgpo_core.rewards.pretrained import WEIGHTS_FILE
from dgpo_core.rewards.supplies import Supplies, supplies_of

CLIP, DETECTOR, JUDGE = "CLIPModel", "Mask2FormerForUniversalSegmentation", "AutoModelForImageTextToText"
READER = "BlipTextModel"
CLASSES = {
    "clipscore": CLIP,
    "pickscore": CLIP,
    "hpsv2": CLIP,
    "imagereward": READER,
    "aesthetic": "CLIPVisionModelWithProjection",
    "geneval": DETECTOR,
    "geneval_strict": DETECTOR,
    "deqa": JUDGE,
    "unifiedreward": JUDGE,
    "vlm_judge": JUDGE,
}
"""Which class of transformers each reward loads."""


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """Bytes of the models of a run's rewards, all or, where they are offloaded, the largest reward's; and the rewards
    whose size is not known: not fetched yet, or no model of transformers."""

    num_bytes: int
    uncounted: tuple[str, ...]


def weights_of_rewards(config: RunConfig, folder: Path = Path()) -> RewardWeights:
    """What the rewards of the settings weigh, each loaded once; folder is where relative names begin."""
    supplies = supplies_of(config, folder, {})
    sizes = [(name, _bytes_of(name, config, supplies)) for name in _loaded(config)]
    uncounted = tuple(name for name, size in sizes if size is None)
    known = [size for _, size in sizes if size is not None]
    return RewardWeights(max(known, default=0) if supplies.offloads else sum(known), uncounted)


def _loaded(config: RunConfig) -> list[str]:
    """The rewards of a run, each once."""
    reward = config.reward
    trained = [share.name for share in parse_mixture(reward.train, "reward.train")]
    return list(dict.fromkeys([*trained, reward.evaluation, *parse_watched(reward.watch, "reward.watch")]))


def _bytes_of(name: str, config: RunConfig, supplies: Supplies) -> int | None:
    """Bytes of a reward's models; None where they cannot be known."""
    if is_own(name) or REWARD_FACTS[name].install:
        return None
    sizes = [_model_bytes(place, kind) for place, kind in _models(name, config, supplies)]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _models(name: str, config: RunConfig, supplies: Supplies) -> Iterator[tuple[str | None, str]]:
    """Where each model of a reward lies and its class; a place is None where the folder that should hold it does not.

    A judge behind a server weighs nothing here, and what was learned from labels only what it sees with.
    """
    if name == PREFERENCE:
        if own := config.people.clip_folder:
            inside = supplies.folder / own
            yield str(inside if inside.exists() else own), CLIP
        return
    if name not in CLASSES or (CLASSES[name] == JUDGE and supplies.server):
        return
    weights = REWARD_FACTS[name].weights
    if CLASSES[name] == JUDGE:
        weights = supplies.server_model or weights
    yield _place(weights, supplies), CLASSES[name]
    if CLASSES[name] == DETECTOR:
        yield _place(REWARD_FACTS["clipscore"].weights, supplies), CLIP


def _place(weights: str, supplies: Supplies) -> str | None:
    try:
        return supplies.place(weights)
    except RewardError:
        return None


def _model_bytes(place: str | None, kind: str) -> int | None:
    """Bytes of one model in the precision that it is loaded in; None where no configuration of it lies here."""
    import transformers

    if place is None:
        return None
    if kind == READER:
        return _stored_bytes(Path(place) / WEIGHTS_FILE)
    made: Any = getattr(transformers, kind)
    settings = transformers.AutoConfig if kind == JUDGE else made.config_class
    try:
        found = settings.from_pretrained(place, local_files_only=True)
        with torch.device("meta"):
            model = made.from_config(found) if kind == JUDGE else made(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None
    return numel(model) * (found.dtype or torch.float32).itemsize


def _stored_bytes(file: Path) -> int | None:
    """Bytes in float32 of ImageReward's weights, which have no configuration beside them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            shapes = [stored.get_slice(name).get_shape() for name in filter(is_used, stored.keys())]
        return sum(4 * prod(shape) for shape in shapes)
    except (OSError, SafetensorError):
        return None
