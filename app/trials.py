"""Trying a reward: the pictures somebody gave or a stored group, judged as a run would have them judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from app.people import people_of
from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import TrialResult, TrialWish
from dgpo_core.config import RewardConfig, RunConfig, from_dict
from dgpo_core.data.pictures import picture_in, png_bytes
from dgpo_core.data.prompts import load_prompt_set
from dgpo_core.errors import PromptError, RewardError, StoreError
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.label_scores import Scores, agreement

MAX_PICTURES = 64
PLACES = ("server", "server_model", "models_folder")
"""Where a reward finds its model; the settings and a wish have the same names for them."""


class PromptNotes(Mapping[str, Mapping[str, Any]]):
    """What stands beside the prompts of a set, which is read when a reward first asks: few do, and it may be gone."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def __getitem__(self, prompt: str) -> Mapping[str, Any]:
        return self._read[prompt]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    @cached_property
    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            return load_prompt_set(self._name, self._folder).notes
        except PromptError as error:
            raise RewardError(f"What stands beside the run's prompts cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Bench:
    """The pictures of a trial, their prompt, and what is known around them; labels are people's scores of them."""

    config: RunConfig
    pictures: list[Picture]
    prompt: str
    notes: Mapping[str, Mapping[str, Any]]
    labels: Scores | None

    @property
    def pngs(self) -> list[bytes]:
        return [png_bytes(picture) for picture in self.pictures]


def bench_of(wish: TrialWish, reader: Reader, settings: Settings) -> Bench:
    """What a wish asks to be judged.

    Raises:
        RewardError: there is no picture, too many, or one that cannot be read; or the note is no JSON object.
        StoreError: the group is not there.
        ConfigError: there is no such reward.
    """
    if wish.run_id is not None:
        return _group_bench(wish, reader, settings)
    own = RewardConfig(train=wish.reward, **{name: getattr(wish, name) for name in PLACES})
    if not 1 <= len(wish.files) <= MAX_PICTURES:
        raise RewardError(f"1 to {MAX_PICTURES} pictures can be tried at once, got {len(wish.files)}. Choose pictures.")
    pictures = [picture_in(data, f"Picture {number}") for number, data in enumerate(wish.files, start=1)]
    note = _note(wish.note)
    return Bench(RunConfig(reward=own), pictures, wish.prompt, {wish.prompt: note} if note else {}, None)


def _group_bench(wish: TrialWish, reader: Reader, settings: Settings) -> Bench:
    run = reader.run(wish.run_id or 0)
    groups = reader.groups(run.id, wish.step or 0) if run else []
    group = next((one for one in groups if one.index == wish.group_index), None)
    if run is None or group is None:
        raise StoreError(
            f"There is no group {wish.group_index} of step {wish.step} in that run. Choose a step that is done."
        )
    places = {name: value for name in PLACES if (value := getattr(wish, name))}
    config = from_dict(run.config | {"reward": run.config["reward"] | places | {"train": wish.reward}})
    samples = sorted(group.samples, key=lambda one: one.member)
    pictures = [picture_in(reader.picture(one.sha) or b"", f"Picture {one.member}") for one in samples]
    notes = PromptNotes(config.prompts.train, settings.folder)
    labels = people_of(reader, run.id)(group.step).get(group.index)
    return Bench(config, pictures, group.prompt, notes, labels)


def _note(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    try:
        note = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RewardError(
            'The metadata is no JSON. Write an object such as {"text": "OPEN"}, or leave it empty.'
        ) from error
    if not isinstance(note, dict):
        raise RewardError('The metadata must be a JSON object such as {"text": "OPEN"}. Write one, or leave it empty.')
    return note


def judged(bench: Bench, settings: Settings, look: Callable[[], None]) -> TrialResult:
    """What the reward says of the bench's pictures, and its self-test.

    Raises:
        LabError: the reward cannot be made, cannot judge the prompt, or breaks its contract.
    """
    from dgpo_core.rewards.catalogue import new_mixture, new_reward
    from dgpo_core.rewards.contract import judge
    from dgpo_core.rewards.self_test import self_test
    from dgpo_core.rewards.supplies import supplies_of

    config = bench.config
    supplies = supplies_of(config, settings.folder, bench.notes)
    reward = new_mixture(config.reward.train, "The reward", lambda name: new_reward(name, supplies))
    reward.check_prompts([bench.prompt])
    outcome = self_test(reward, prompt=bench.prompt, seconds=config.reward.seconds)
    prompts = [bench.prompt] * len(bench.pictures)
    judgements = judge(reward, bench.pictures, prompts, seconds=config.reward.seconds, look=look)
    rewards = [one.reward for one in judgements]
    return TrialResult(
        passed=outcome.passed,
        self_test=outcome.words,
        agreement=agreement(rewards, bench.labels) if bench.labels else None,
        judged=tuple((one.reward, one.terms, one.details) for one in judgements),
    )
