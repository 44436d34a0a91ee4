"""A whole run on the small model: parts, settings, and ears for its events. A step takes about a tenth of a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from small_model import PROMPTS

from dgpo_core.assembly import category_of
from dgpo_core.checkpoint import same_numbers
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.control import NextCommand
from dgpo_core.events import Command, EndReason, Event, PhaseChanged
from dgpo_core.examination import Examiner
from dgpo_core.models.protocol import Model
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import Reward
from dgpo_core.saving import Patiently, at_once
from dgpo_core.trainer import Parts, train
from dgpo_core.training_state import TrainingState

SMALL = {
    "model": {"lora_rank": 4, "lora_alpha": 8},
    "reward": {"train": "brightness", "evaluation": "brightness"},
    "rollout": {"groups_per_step": 2, "group_size": 4, "num_sampling_steps": 2},
    "loss": {"num_sigmas": 2},
    "update": {"micro_batch": 8, "learning_rate": 1e-2},
    "schedule": {"num_steps": 3, "evaluate_every": 0, "evaluation_prompts": 2, "checkpoint_every": 100},
}
EVERY_STEP = {"num_steps": 3, "checkpoint_every": 1, "checkpoints_kept": 100}
"""A schedule that saves every state of its three steps."""


def small_config(**changes: dict) -> RunConfig:
    """SMALL with settings of its sections changed: small_config(schedule={"num_steps": 6})."""
    return from_dict({name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes})


def small_parts(
    model: Model, checkpoints: Path, config: RunConfig, reward: Reward | None = None, judge: Reward | None = None
) -> Parts:
    """The parts of a run that trains on four prompts and examines on two."""
    examiner = Examiner(
        model=model,
        reward=judge or new_reward(config.reward.evaluation),
        quality=None,
        category_of=category_of,
        rollout=config.rollout,
        batch=config.update.micro_batch,
    )
    return Parts(
        model=model,
        reward=reward or new_reward(config.reward.train),
        examiner=examiner,
        train_prompts=PROMPTS[:4],
        heldout_prompts=PROMPTS[4:],
        checkpoints=checkpoints,
    )


@dataclass
class Listener:
    """Keeps a run's events and gives it commands: those due at the n-th question, when there are any."""

    commands: dict[int, Sequence[Command]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    num_questions: int = 0
    _waiting: list[Command] = field(default_factory=list)

    def next_command(self) -> Command | None:
        if self._waiting:
            return self._waiting.pop(0)
        self._waiting = list(self.commands.get(self.num_questions, ()))
        self.num_questions += 1
        return self._waiting.pop(0) if self._waiting else None

    def of(self, kind: type) -> list:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


def run(
    config: RunConfig,
    parts: Parts,
    *,
    listener: Listener | None = None,
    emit: Callable[[Event], None] | None = None,
    next_command: NextCommand | None = None,
    resume_from: Path | None = None,
    patiently: Patiently = at_once,
) -> tuple[EndReason, Listener]:
    """Trains with a fresh LoRA, or from a checkpoint; why it ended, and what was heard."""
    listener = listener or Listener()
    reset_lora(parts.model)

    def hear(event: Event) -> None:
        listener.events.append(event)
        if emit:
            emit(event)

    commands = next_command or listener.next_command
    reason = train(config, parts, emit=hear, next_command=commands, resume_from=resume_from, patiently=patiently)
    return reason, listener


def reset_lora(model: Model) -> None:
    """The LoRA as any process would begin it: A drawn, B zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.policy_parameters().items():
            is_first = "lora_A" in name
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) * is_first)
            parameter.grad = None


def numbers_at(folder: Path, model: Model, config: RunConfig) -> str:
    """One hash of all a checkpoint holds, as a run would take it up."""
    from dgpo_core.checkpoint import load_checkpoint

    saved = load_checkpoint(folder, model.identity())
    state = TrainingState(model.policy_parameters(), config.update)
    state.load(saved.tensors, saved.step)
    return same_numbers(state.tensors())


class Forwards:
    """Counts the forwards of a model's transformer while in a with."""

    def __init__(self, model: Model) -> None:
        self._transformer, self.count = model.pipeline.transformer, 0

    def __enter__(self) -> Forwards:
        self._hook = self._transformer.register_forward_hook(lambda *_: setattr(self, "count", self.count + 1))
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def without_phases(events: Sequence[Event]) -> list[Event]:
    """The events but those that only tell how far the run is."""
    return [event for event in events if not isinstance(event, PhaseChanged)]
