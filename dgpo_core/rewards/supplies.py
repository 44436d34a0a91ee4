"""What a reward may be handed when it is made: what is known of prompts, where models lie, which server answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import nn

from dgpo_core.config import RunConfig
from dgpo_core.errors import RewardError
from dgpo_core.reward_config import OFFLOAD
from dgpo_core.rewards.contract import Reward

Network = TypeVar("Network", bound=nn.Module)
SERVER_KEY = "DGPO_REWARD_KEY"
"""The environment variable that holds the key of reward.server."""
Note = Mapping[str, Any]
"""What a prompt set says of one prompt beside its text, such as GenEval's include and exclude, or the text to write."""
Notes = Mapping[str, Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """notes are by prompt; folder is where relative names of a person's own files begin; models_folder holds models
    that were fetched before, in folders named like their hub ids; preference is what was learned from labels; seconds
    is what a reward may take for the pictures of a step.

    networks are those of the one reward that is made with these supplies; offloads says that they are to wait in main
    memory while it does not judge. The rewards of a run are made with copies of one supplies: loaded are the networks
    that any of them has loaded, by class and place, and one_visit lets one of them at a time have its networks moved.
    """

    notes: Notes = field(default_factory=dict)
    folder: Path = field(default_factory=Path)
    models_folder: str = ""
    server: str = ""
    server_model: str = ""
    server_key: str = field(default="", repr=False)
    seconds: float = 600.0
    device: str = "cpu"
    offloads: bool = False
    networks: list[nn.Module] = field(default_factory=list, compare=False)
    loaded: dict[tuple[str, str], nn.Module] = field(default_factory=dict, compare=False, repr=False)
    one_visit: Lock = field(default_factory=Lock, compare=False, repr=False)
    preference: Reward | None = None

    def note(self, prompt: str) -> Note:
        """What is known of a prompt; empty where nothing is."""
        return self.notes.get(prompt, {})

    def pretrained(self, kind: Any, place: str, **options: Any) -> Any:
        """The network that kind, a class of transformers, loads from a place, settled; loaded once in a run.

        Raises:
            OSError, ValueError, KeyError, RuntimeError: as kind's from_pretrained.
        """
        key = (kind.__name__, place)
        if key not in self.loaded:
            self.loaded[key] = kind.from_pretrained(place, use_safetensors=True, **options)
        return self.settle(self.loaded[key])

    def settle(self, network: Network) -> Network:
        """The network on the device, for judging only, and remembered."""
        self.networks.append(network.to(self.device).eval())
        return network

    def place(self, hub_id: str) -> str:
        """Where a model is loaded from: its folder where models_folder is given, else its id on the hub.

        Raises:
            RewardError: models_folder is given and does not hold it.
        """
        if not self.models_folder:
            return hub_id
        place = Path(self.models_folder) / hub_id
        if not place.is_dir():
            raise RewardError(
                f"reward.models_folder holds no {hub_id}: there is no folder {place}. Put the model there with its "
                "config.json and its safetensors, or leave reward.models_folder empty to fetch it on first use."
            )
        return str(place)


def supplies_of(config: RunConfig, folder: Path, notes: Notes) -> Supplies:
    """What the settings hand to rewards; the key of a server comes from the environment and is stored nowhere."""
    reward = config.reward
    return Supplies(
        notes=notes,
        folder=folder,
        models_folder=reward.models_folder,
        server=reward.server,
        server_model=reward.server_model,
        server_key=os.environ.get(SERVER_KEY, ""),
        seconds=reward.seconds,
        device="cuda" if torch.cuda.is_available() else "cpu",
        offloads=reward.models == OFFLOAD,
    )
