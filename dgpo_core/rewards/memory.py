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
    "vlm_quality": JUDGE,
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


@dataclass(frozen=True, slots=True)
class _Model:
    """Where a model lies, None where the folder that should hold it does not, and its class.

    is_shared says that rewards that name the same one look with one copy of it.
    """

    place: str | None
    kind: str
    is_shared: bool = True


def weights_of_rewards(config: RunConfig, folder: Path = Path()) -> RewardWeights:
    """What the rewards of the settings weigh, each model loaded once; folder is where relative names begin."""
    supplies = supplies_of(config, folder, {})
    models = {name: list(_models(name, config, supplies)) for name in _loaded(config)}
    sizes = {model: _model_bytes(model) for own in models.values() for model in own}
    uncounted = tuple(name for name, own in models.items() if any(sizes[model] is None for model in own))
    known = [{model: sizes[model] or 0 for model in own} for name, own in models.items() if name not in uncounted]
    if supplies.offloads:
        return RewardWeights(max((sum(own.values()) for own in known), default=0), uncounted)
    together = {model: size for own in known for model, size in own.items()}
    return RewardWeights(sum(together.values()), uncounted)


def _loaded(config: RunConfig) -> list[str]:
    """The rewards of a run, each once."""
    reward = config.reward
    trained = [share.name for share in parse_mixture(reward.train, "reward.train")]
    return list(dict.fromkeys([*trained, reward.evaluation, *parse_watched(reward.watch, "reward.watch")]))


def _models(name: str, config: RunConfig, supplies: Supplies) -> Iterator[_Model]:
    """The models of a reward; one without a place where they cannot be known.

    A judge behind a server weighs nothing here, and what was learned from labels only what it sees with.
    """
    if is_own(name) or REWARD_FACTS[name].install:
        yield _Model(None, name)
        return
    if name == PREFERENCE:
        if own := config.people.clip_folder:
            inside = supplies.folder / own
            yield _Model(str(inside if inside.exists() else own), CLIP, is_shared=False)
        return
    if name not in CLASSES or (CLASSES[name] == JUDGE and supplies.server):
        return
    weights = REWARD_FACTS[name].weights
    if CLASSES[name] == JUDGE:
        weights = supplies.server_model or weights
    yield _Model(_place(weights, supplies), CLASSES[name])
    if CLASSES[name] == DETECTOR:
        yield _Model(_place(REWARD_FACTS["clipscore"].weights, supplies), CLIP)


def _place(weights: str, supplies: Supplies) -> str | None:
    try:
        return supplies.place(weights)
    except RewardError:
        return None


def _model_bytes(model: _Model) -> int | None:
    """Bytes of one model in the precision that it is loaded in; None where no configuration of it lies here."""
    import transformers

    place, kind = model.place, model.kind
    if place is None:
        return None
    if kind == READER:
        return _stored_bytes(Path(place) / WEIGHTS_FILE)
    made: Any = getattr(transformers, kind)
    settings = transformers.AutoConfig if kind == JUDGE else made.config_class
    try:
        found = settings.from_pretrained(place, local_files_only=True)
        with torch.device("meta"):
            network = made.from_config(found) if kind == JUDGE else made(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
        return None
    return numel(network) * (found.dtype or torch.float32).itemsize


def _stored_bytes(file: Path) -> int | None:
    """Bytes in float32 of ImageReward's weights, which have no configuration beside them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as stored:
            shapes = [stored.get_slice(name).get_shape() for name in filter(is_used, stored.keys())]
        return sum(4 * prod(shape) for shape in shapes)
    except (OSError, SafetensorError):
        return None
