"""The loop: draw groups, judge them, turn rewards into advantages, move the policy; tell and obey."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dgpo_core import events
from dgpo_core.checkpoint import load_checkpoint, other_conditions
from dgpo_core.comparison import averaged_weights, compare
from dgpo_core.config import RunConfig
from dgpo_core.control import Control, Errand, NextCommand, StopRequested
from dgpo_core.data.stored_groups import StoredGroup
from dgpo_core.ema import WeightCopy, averaged_decay, old_policy_decay
from dgpo_core.errors import CheckpointError, LabError, ModelError, StoreError, UnstorableError
from dgpo_core.events import EndReason, Event, Phase
from dgpo_core.examination import Examiner, Watched, spread_over
from dgpo_core.halving import halving
from dgpo_core.human_turn import Judges, People, Preference, Seams, judged_with_people, needs_learned
from dgpo_core.lesson import Lesson, Tally
from dgpo_core.models.protocol import Model
from dgpo_core.recall import recall_groups
from dgpo_core.rewards.contract import Judgement, Reward, judge
from dgpo_core.rollout import UNCONDITIONAL, Rollout, draw_groups, of_step
from dgpo_core.samplers import OnStep
from dgpo_core.saving import Patiently, Saver, at_once
from dgpo_core.schedules import learning_rate_at
from dgpo_core.scoring import StepSeconds, advantages_of, scored_groups, step_metrics
from dgpo_core.silence import Silence, unjudged_in_words
from dgpo_core.training_state import TrainingState
from dgpo_core.updates.catalogue import new_update
from dgpo_core.vigil import Alarm, Vigil

Emit = Callable[[Event], None]
Result = TypeVar("Result")
KL_WATCHED_PICTURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of; checkpoints is the folder that holds this run's.

    Where there are stored_groups, it learns from them and draws nothing but examinations. The diary begins with the
    cautions.
    """

    model: Model
    reward: Reward
    examiner: Examiner
    train_prompts: list[str]
    heldout_prompts: list[str]
    checkpoints: Path
    stored_groups: Sequence[StoredGroup] = ()
    people: People | None = None
    preference: Preference | None = None
    cautions: tuple[str, ...] = ()


def train(
    config: RunConfig,
    parts: Parts,
    *,
    emit: Emit,
    next_command: NextCommand,
    resume_from: Path | None = None,
    patiently: Patiently = at_once,
) -> EndReason:
    """One run, from its start or from a checkpoint. Returns why it ended; exceptions pass through.

    The last checkpoint is written patiently: without it what was learned since the one before would be lost. Where a
    reward or an examination fails, the steps that are whole are saved first.
    Differs from the paper: several updates per rollout, one per noise level, against the policy
    that drew the groups (loss.reference); docs/method.md has all differences.
    """
    return _Run(config, parts, emit, Control(next_command)).run(resume_from, patiently)


class _Run:
    """One run in progress."""

    def __init__(self, config: RunConfig, parts: Parts, emit: Emit, control: Control) -> None:
        self.config, self.parts, self.emit, self.control = config, parts, emit, control
        self.state = TrainingState(parts.model.policy_parameters(), config.update)
        self.update = new_update(parts.model, config, before_part=control.look)
        prompts_examined, category_of = config.schedule.evaluation_prompts, parts.examiner.category_of
        self.examined = spread_over(parts.heldout_prompts, prompts_examined, category_of)
        self.vigil, self.silence = Vigil(config), Silence()
        self.saver = Saver(config=config, model=parts.model, folder=parts.checkpoints, emit=emit)

    def run(self, resume_from: Path | None, patiently: Patiently) -> EndReason:
        num_steps = self.config.schedule.num_steps
        if resume_from is not None:
            saved = load_checkpoint(resume_from, self.parts.model.identity())
            self.state.load(saved.tensors, saved.step)
            self.vigil.take_up(saved.watch)
            if words := other_conditions(saved.versions):
                self._warn(words)
        for caution in self.parts.cautions:
            self._warn(caution)
        num_trainable = sum(parameter.numel() for parameter in self.state.parameters.values())
        first_step = self.state.step
        self.emit(events.RunStarted(first_step=first_step, num_steps=num_steps, num_trainable=num_trainable))
        reason, tell_paused = EndReason.FINISHED, partial(self._tell, Phase.PAUSED, 0, 1)
        try:
            if self._is_examination_due():
                self._evaluate()
            while self.state.step < num_steps:
                self.control.run_errands(self._run_errand, tell_paused)
                with self.state.one_step():
                    self._draw_and_learn()
                self._after_step()
            self.control.run_errands(self._run_errand, tell_paused)
        except StopRequested:
            reason = EndReason.STOPPED
        except LabError as error:  # a save has to be told, for which a store that refuses has no patience left
            is_mute = isinstance(error, StoreError) and not isinstance(error, UnstorableError)
            if self.state.step > first_step and not is_mute:
                self._save_or_warn()
            raise
        self._save(patiently)
        self.emit(events.RunEnded(step=self.state.step, reason=reason))
        return reason

    def _draw_and_learn(self) -> None:
        started, evaluations_before = time.monotonic(), self.parts.model.num_evaluations
        decay = old_policy_decay(self.state.step, max_decay=self.config.update.old_policy_decay)
        self.state.old_policy.follow(self.state.parameters, decay)
        self.state.renew_reference(self.config.loss.reference_every)
        self.update.reference = self.state.reference
        rollout = self._rollout()
        self._tell(Phase.SCORING, 0, 1)
        scoring_from = time.monotonic()
        judgements = self._judged(rollout)
        scored = time.monotonic()
        advantages = advantages_of(judgements, rollout, self.config.loss)
        lesson, tally = Lesson.of(rollout, advantages, self.parts.model.encode([UNCONDITIONAL])), Tally()
        updating_from = time.monotonic()
        if lesson.num_groups:
            self._learn(lesson, tally)
        decay = averaged_decay(self.state.step, max_decay=self.config.update.averaged_decay)
        self.state.averaged.follow(self.state.parameters, decay)
        updated = time.monotonic()
        groups = scored_groups(rollout, judgements, advantages, lesson, tally)
        if rollout.judgements is None:  # stored groups say nothing of the policy
            self.vigil.see_groups(groups, rollout.pictures)
        seconds = StepSeconds(
            sampling=rollout.sampling_seconds,
            decoding=rollout.decoding_seconds,
            scoring=scored - scoring_from,
            updating=updated - updating_from,
            step=time.monotonic() - started,
        )
        num_evaluations = self.parts.model.num_evaluations - evaluations_before
        metrics = step_metrics(judgements, advantages, tally, seconds, num_evaluations)
        self.emit(events.StepDone(step=self.state.step, groups=groups, metrics=metrics))

    def _judged(self, rollout: Rollout) -> list[Judgement]:
        if rollout.judgements is not None:
            return list(rollout.judgements)
        config, step = self.config.people, self.state.step
        if config.weight == 0:
            return self._judged_by_reward(rollout)
        assert self.parts.people is not None, "assembly refuses a run that asks people without any"
        seams = Seams(emit=self.emit, look=self._on_step(Phase.LABELLING))
        learned = self.parts.preference(step) if self.parts.preference and needs_learned(config) else None
        judges = Judges(people=self.parts.people, reward=self._judged_by_reward, learned=learned)
        return judged_with_people(rollout, judges, config, step=step, seams=seams)

    def _judged_by_reward(self, rollout: Rollout) -> list[Judgement]:
        judgements = judge(
            self.parts.reward,
            rollout.pictures,
            rollout.prompt_per_picture,
            seconds=self.config.reward.seconds,
            look=self.control.look,
        )
        words = self.silence.hear(judgements)
        if words:
            self._warn(words)
        return judgements

    def _rollout(self) -> Rollout:
        config, step, count = self.config, self.state.step, self.config.rollout.groups_per_step
        if self.parts.stored_groups:
            self._tell(Phase.SAMPLING, 0, 1)
            return recall_groups(
                self.parts.model, self.parts.stored_groups, count=count, run_seed=config.seed, step=step
            )
        prompts = of_step(self.parts.train_prompts, step=step, count=count, run_seed=config.seed)

        def draw() -> Rollout:
            return draw_groups(
                self.parts.model,
                prompts,
                config.rollout,
                run_seed=config.seed,
                step=step,
                batch=2 * self.update.micro_batch,
                on_step=self._on_step(Phase.SAMPLING),
            )

        if step < config.rollout.old_policy_from_step or config.update.old_policy_decay == 0:
            return self._fitting(draw)
        with self.state.old_policy.swapped_in(self.state.parameters):
            return self._fitting(draw)

    def _learn(self, lesson: Lesson, tally: Tally) -> None:
        """The updates of a step, each time over its groups with fresh noise."""
        for epoch in range(self.config.update.inner_epochs):
            levels = self.update.levels(lesson, step=self.state.step, epoch=epoch)
            self._learn_once(lesson, levels, self._old(lesson, levels, epoch), tally)
            if not tally.kls and epoch + 1 == self.config.update.inner_epochs:
                tally.kls.append(self.update.measured_kl(lesson, levels[0], KL_WATCHED_PICTURES))

    def _old(self, lesson: Lesson, levels: Sequence[Any], epoch: int) -> list[Tensor | None]:
        """What the old policy says at each noise level; None where it is the policy of that very update."""
        if not self.update.needs_old_policy:
            return [None] * len(levels)
        update, is_old_now = self.config.update, self.config.update.old_policy_decay == 0 and epoch == 0
        return [
            None
            if is_old_now and (index == 0 or not update.per_sigma)
            else self._fitting(partial(self.update.under_old_policy, lesson, level, self.state.old_policy))
            for index, level in enumerate(levels)
        ]

    def _learn_once(self, lesson: Lesson, levels: Sequence[Any], old: Sequence[Tensor | None], tally: Tally) -> None:
        """One update per noise level, or one over all of them."""
        is_per_sigma = self.config.update.per_sigma
        for index, level in enumerate(levels):
            self._tell(Phase.UPDATING, index, len(levels))
            self._accumulate(lesson, level, tally, old[index])
            if is_per_sigma:
                self._optimizer_step(tally, 1)
        if not is_per_sigma:
            self._optimizer_step(tally, len(levels))

    def _accumulate(self, lesson: Lesson, level: Any, tally: Tally, old: Tensor | None) -> None:
        """The gradient of one noise level, from its beginning each time memory runs out in it."""
        parameters = list(self.state.parameters.values())
        before = [None if one.grad is None else one.grad.clone() for one in parameters]

        def accumulate() -> Tally:
            for parameter, gradient in zip(parameters, before, strict=True):
                parameter.grad = None if gradient is None else gradient.clone()
            part = Tally()
            self.update.accumulate(lesson, level, part, old)
            return part

        tally.add(self._fitting(accumulate))

    def _fitting(self, work: Callable[[], Result]) -> Result:
        """What work returns, with smaller micro-batches where memory runs out."""

        def halve() -> None:
            self.update.halve()
            self._warn(
                f"Memory ran out, so update.micro_batch is {self.update.micro_batch} from now on; nothing is lost."
            )

        return halving(work, lambda: self.update.micro_batch, halve)

    def _optimizer_step(self, tally: Tally, num_noises: int) -> None:
        """One AdamW step at the step's learning rate; an update that is not finite is left out and said."""
        config = self.config.update
        rate = learning_rate_at(self.state.step, start=config.learning_rate, decay_steps=config.decay_steps)
        for setting in self.state.optimizer.param_groups:
            setting["lr"] = rate
        parameters = list(self.state.parameters.values())
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= num_noises
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        if norm.isfinite():
            self.state.optimizer.step()
            tally.grad_norms.append(float(norm))
        else:
            self._warn("An update was left out because its gradient was not finite. Weights are as before it.")
        self.state.optimizer.zero_grad(set_to_none=True)

    def _after_step(self) -> None:
        step, schedule = self.state.step, self.config.schedule
        if self._is_examination_due():
            self._evaluate()
        elif schedule.evaluate_every == 0:
            self._raise(self.vigil.look())
        if step % schedule.checkpoint_every == 0 and step < schedule.num_steps:
            self._save_or_warn()

    def _is_examination_due(self) -> bool:
        """Also asked at the start: a stop may have cut the examination of a saved step short, and may not have."""
        step, schedule = self.state.step, self.config.schedule
        is_regular = schedule.evaluate_every > 0 and step % schedule.evaluate_every == 0
        return (is_regular or step in (0, schedule.num_steps)) and step != self.vigil.examined_step

    def _evaluate(self) -> None:
        """Examines the averaged weights, which at the very start are the base's, and keeps watch."""
        if not self.vigil.has_baseline and self.state.step > 0 and self.parts.examiner.watched:
            self.vigil.begin_with(*self._examined_with(None))
        done, watched = self._examined_with(self.state.averaged)
        if words := unjudged_in_words(done.samples):
            self._warn(words)
        self.emit(replace(done, quality=(*done.quality, *self.vigil.numbers().items())))
        self._raise(self.vigil.see_examination(done, watched))

    def _raise(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            self.emit(events.Warned(step=self.state.step, message=alarm.message, samples=alarm.guilty))
            self.control.is_paused |= self.config.reward.on_alarm == "pause"

    def _examined_with(self, weights: WeightCopy | None) -> tuple[events.EvaluationDone, Watched]:
        seed, step = self.config.seed, 0 if weights is None else self.state.step
        on_step = self._on_step(Phase.EXAMINING)
        return self._by_examiner(
            lambda one: one.examine_and_watch(self.examined, seed=seed, step=step, weights=weights, on_step=on_step)
        )

    def _by_examiner(self, work: Callable[[Examiner], Result]) -> Result:
        """What work gives, by an examiner that hears a stop and draws no more at once than memory was found to hold.

        Where smaller parts did not help, training keeps those that it had."""
        size = self.update.micro_batch

        def fitting() -> Result:
            examiner = self.parts.examiner
            batch = min(examiner.batch, 2 * self.update.micro_batch)
            return work(replace(examiner, batch=batch, look=self.control.look))

        try:
            return self._fitting(fitting)
        except ModelError:
            self.update.micro_batch = size
            raise

    def _save(self, patiently: Patiently = at_once) -> None:
        self._tell(Phase.SAVING, 0, 1)
        self.saver.save(self.state, self.vigil, patiently)

    def _save_or_warn(self) -> None:
        """A save along the way that fails costs no run: what was learned is kept, and the next save may succeed."""
        try:
            self._save()
        except CheckpointError as error:
            self._warn(str(error))

    def _run_errand(self, errand: Errand) -> None:
        """Does what was asked for between steps. What cannot be saved or drawn is said, and the run goes on."""
        if isinstance(errand, events.SaveNow):
            self._save_or_warn()
        elif isinstance(errand, events.SampleNow):
            self._preview(errand)
        elif isinstance(errand, events.ExamineNow):
            self._evaluate()
        else:
            self._compare(errand)

    def _preview(self, errand: events.SampleNow) -> None:
        weights, on_step = self.state.averaged, self._on_step(Phase.SAMPLING)
        try:
            samples = self._by_examiner(
                lambda one: one.draw(errand.prompts, seed=errand.seed, weights=weights, on_step=on_step)
            )
        except LabError as error:
            self._warn(str(error))
        else:
            self.emit(events.Preview(step=self.state.step, samples=samples))

    def _compare(self, errand: events.Compare) -> None:
        now, parts, on_step = self.state, self.parts, self._on_step(Phase.COMPARING)
        step, prompts = now.step if errand.step is None else errand.step, parts.heldout_prompts
        try:
            weights = now.averaged if step == now.step else averaged_weights(parts.checkpoints, step, parts.model)
            done = self._by_examiner(
                lambda one: compare(one, prompts, errand, weights=weights, step=step, on_step=on_step)
            )
        except LabError as error:
            self.emit(events.ComparisonFailed(request_id=errand.request_id, message=str(error)))
        else:
            self.emit(done)

    def _on_step(self, phase: Phase) -> OnStep:
        def tell_and_look(index: int, total: int) -> None:
            self.control.look()
            self._tell(phase, index, total)

        return tell_and_look

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        self.emit(events.PhaseChanged(step=self.state.step, phase=phase, done=done, total=total))

    def _warn(self, message: str) -> None:
        self.emit(events.Warned(step=self.state.step, message=message))
