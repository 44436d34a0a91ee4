"""A reward whose networks are on the GPU only while it judges, and wait in main memory meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from dgpo_core.rewards.contract import Judgement, Picture, Reward, Testable, Trial, name_of
from dgpo_core.rewards.supplies import Supplies

MAIN_MEMORY = "cpu"


class Visiting:
    """Any reward; its networks are those that it settled with the supplies it was made with."""

    def __init__(self, reward: Reward, supplies: Supplies) -> None:
        self.name, self._reward, self._supplies = name_of(reward), reward, supplies

    def check_prompts(self, prompts: Sequence[str]) -> None:
        self._reward.check_prompts(prompts)

    def trials(self) -> list[Trial]:
        return self._reward.trials() if isinstance(self._reward, Testable) else []

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        with self._supplies.one_visit:  # one that took too long was left behind and may still be judging
            try:
                self._move(self._supplies.device)
                return self._reward(pictures, prompts)
            finally:
                self._move(MAIN_MEMORY)

    def _move(self, device: str) -> None:
        for network in self._supplies.networks:
            network.to(device)
