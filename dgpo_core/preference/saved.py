"""A learned preference on disk: tensors and a page of JSON that says what they are; no pickle is read or written."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgpo_core.errors import RewardError
from dgpo_core.preference.ensemble import Ensemble
from dgpo_core.preference.learned_reward import LearnedReward
from dgpo_core.preference.picture_features import PictureFeatures

FORMAT = 1
TENSORS, ABOUT = "heads.safetensors", "preference.json"
PROBE_PROMPT = "a picture"
"""With one fixed picture it tells encoders apart; its features are kept beside what was learned."""
PROBE_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of a saved preference: from how many labelled groups, and how far it may be trusted."""

    num_groups: int
    accuracy: float | None
    calibration_error: float | None


def save_preference(folder: Path, reward: LearnedReward, about: About) -> None:
    """Writes a folder, whole or not at all; one that is there already is replaced."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = reward.ensemble.tensors() | {"probe": _probe(reward.features)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    facts = {
        "format": FORMAT,
        "features": reward.features.kind,
        "num_groups": about.num_groups,
        "accuracy": about.accuracy,
        "calibration_error": about.calibration_error,
        "sha256": sha256((partial / TENSORS).read_bytes()).hexdigest(),
    }
    (partial / ABOUT).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    for file in (*partial.iterdir(), partial):
        _sync(file)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    _sync(folder.parent)


def load_preference(folder: Path, features: PictureFeatures) -> LearnedReward:
    """The reward that was saved.

    Raises:
        RewardError: there is none, it is damaged or of another version, or it was learned with other encoders.
    """
    facts = _facts(folder)
    if facts["features"] != features.kind:
        raise RewardError(
            f"The preference in {folder} was learned from features of the kind {facts['features']}, but this run has "
            f"{features.kind}. Choose the encoder that it was learned with, or learn it anew."
        )
    try:
        bytes_read = (folder / TENSORS).read_bytes()
        tensors = load_file(folder / TENSORS)
        probe = tensors.pop("probe")
        ensemble = Ensemble(**tensors)
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{TENSORS} cannot be read") from error
    if sha256(bytes_read).hexdigest() != facts["sha256"]:
        raise _damaged(folder, f"{TENSORS} is not as it was written")
    _check_probe(folder, ensemble, probe, _probe(features))
    return LearnedReward(ensemble, features)


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RewardError(
            f"There is no learned preference in {folder}: it has no {ABOUT}. Name a folder that the lab wrote, such as "
            "lab/preferences/3/version-2, or leave it empty."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{ABOUT} cannot be read") from error
    if not isinstance(facts, dict) or not {"format", "features", "sha256"} <= set(facts):
        raise _damaged(folder, f"{ABOUT} does not say what it must")
    if facts["format"] != FORMAT:
        raise RewardError(
            f"The preference in {folder} has the format {facts['format']}; this lab reads {FORMAT}. Learn it anew."
        )
    return facts


def _damaged(folder: Path, finding: str) -> RewardError:
    return RewardError(f"The preference in {folder} is damaged: {finding}. Choose another version or learn it anew.")


def _probe(features: PictureFeatures) -> Tensor:
    """The features of one fixed picture: equal only for encoders that see alike."""
    rows, columns = np.mgrid[0:64, 0:64].astype(np.uint8)
    picture = np.stack([4 * rows, 4 * columns, 2 * rows + 2 * columns], axis=2)
    return features([picture], [PROBE_PROMPT])[0]


def _check_probe(folder: Path, ensemble: Ensemble, saved: Tensor, found: Tensor) -> None:
    """Raises RewardError where the encoders give other numbers than when the preference was learned.

    Compared in units of what the heads read, so that the rounding of another device or precision passes.
    """
    if saved.shape == found.shape:
        gap = ((saved - found) * ensemble.scale).abs().max()
        if gap <= PROBE_TOLERANCE * (1 + (saved * ensemble.scale).abs().max()):
            return
    raise RewardError(
        f"The preference in {folder} was learned with the encoders of another model. Use the model that drew the "
        "labelled pictures, or learn the preference anew."
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
