"""What the Train tab shows, as plain values: read models in, JSON out. No Gradio, no store, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.store.rows import AlarmRow, EvaluationRow, EventRow, ExaminedRow, GroupRow, RunRow, RunState, SampleRow
from app.ui.charts import short
from app.ui.serving import picture_url
from dgpo_core.events import Phase

RESUMABLE = (RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED)
COUNTED: dict[str, str] = {
    Phase.SAMPLING: "sampling step",
    Phase.EXAMINING: "sampling step",
    Phase.COMPARING: "sampling step",
    Phase.UPDATING: "noise level",
    Phase.LABELLING: "group",
}
"""What a phase counts, for words: of drawing not pictures, but the sampler's steps over one batch of them."""


def status_view(
    run: RunRow | None, *, other_is_live: bool, has_checkpoint: bool, alarm: AlarmRow | None = None
) -> dict[str, Any] | None:
    """The status card of a run with its newest alarm, if any; None when there is no run at all."""
    if run is None:
        return None
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state.value,
        "headline": headline(run, has_checkpoint=has_checkpoint, alarm=alarm),
        "alarm": {"step": alarm.step, "words": first_sentence(alarm.message)} if alarm else None,
        "phase": phase_words(run) if run.state.is_live else "",
        "phase_done": run.phase_done,
        "phase_total": run.phase_total,
        "steps_done": run.step + 1,
        "num_steps": run.num_steps,
        "seconds_left": seconds_left(run),
        "seconds_per_step": run.seconds_per_step,
        "first_score": short(run.first_score),
        "last_score": short(run.last_score),
        "message": run.message,
        "details": run.details,
        "created": run.created,
        "can": possible_actions(run, other_is_live=other_is_live),
    }


def phase_words(run: RunRow) -> str:
    """The phase and how far it is, such as 'drawing groups, sampling step 4 of 8'."""
    return ", ".join(filter(None, (run.phase, place_in_phase(run))))


def place_in_phase(run: RunRow) -> str:
    """Which of the phase's parts is under way, such as 'sampling step 4 of 8'; empty where it has only one."""
    if run.phase_total <= 1:
        return ""
    now = min(run.phase_done + 1, run.phase_total)
    return f"{COUNTED.get(run.phase, 'part')} {now} of {run.phase_total}"


def headline(run: RunRow, *, has_checkpoint: bool, alarm: AlarmRow | None = None) -> str:
    """What the state of a run means for the person; empty where its name says it all."""
    if alarm and is_paused_by(alarm, run):
        return "Paused by the alarm: look at its pictures. The model stays loaded: draw with it below, or go on."
    if run.state in RESUMABLE and not has_checkpoint:
        return {
            RunState.STOPPED: "Stopped before anything was saved. Resumed, it starts over.",
            RunState.FAILED: "Failed before anything was saved. Resumed, it starts over.",
            RunState.INTERRUPTED: "Interrupted before anything was saved: the lab ended while this run was training. "
            "Resumed, it starts over.",
        }[run.state]
    return {
        RunState.STARTING: "",
        RunState.RUNNING: "",
        RunState.PAUSED: "Paused. The model stays loaded: draw with it below, or go on.",
        RunState.FINISHED: "Finished.",
        RunState.STOPPED: "Stopped and saved. It can go on where it stopped.",
        RunState.FAILED: "Failed. It can go on from its last checkpoint.",
        RunState.INTERRUPTED: "Interrupted: the lab ended while this run was training. It can go on from its last "
        "checkpoint.",
    }[run.state]


def is_paused_by(alarm: AlarmRow, run: RunRow) -> bool:
    """Whether a run is paused since this alarm: its settings ask for that, and no step has been done since."""
    pauses = run.config.get("reward", {}).get("on_alarm") == "pause"
    return pauses and run.state is RunState.PAUSED and alarm.step == run.step + 1


def first_sentence(message: str) -> str:
    """The first sentence of a message; a point inside a number or a name ends none."""
    return message.partition(". ")[0].removesuffix(".") + "."


def alarms_view(run: RunRow, alarms: Sequence[tuple[AlarmRow, Sequence[ExaminedRow]]]) -> dict[str, Any]:
    """Alarms, newest first, each with the pictures that show it."""
    return {
        "run": run.id,
        "newest": alarms[0][0].id if alarms else None,
        "alarms": [
            {"id": alarm.id, "step": alarm.step, "message": alarm.message, "samples": examined_view(samples)}
            for alarm, samples in alarms
        ],
    }


def seconds_left(run: RunRow) -> float | None:
    """Seconds until the last step at the present pace; None when that cannot be known."""
    if run.state is not RunState.RUNNING or run.seconds_per_step is None:
        return None
    return (run.num_steps - run.step - 1) * run.seconds_per_step


def possible_actions(run: RunRow, *, other_is_live: bool) -> list[str]:
    """Names of the actions that can work now."""
    if run.state is RunState.STARTING:
        return ["stop"]
    if run.state is RunState.RUNNING:
        return ["pause", "stop", "save", "sample"]
    if run.state is RunState.PAUSED:
        return ["go_on", "stop", "save", "sample"]
    if run.state in RESUMABLE and not other_is_live:
        return ["resume"]
    return []


def wall_view(run: RunRow, groups: Sequence[GroupRow], urls: Mapping[str, str], *, step: int) -> dict[str, Any]:
    """The group wall of one step. Rewards of the step share one axis from low to high; urls has pictures by SHA-256."""
    rewards = [sample.reward for group in groups for sample in group.samples if sample.reward is not None]
    return {
        "run": run.id,
        "step": step,
        "latest": run.step,
        "low": short(min(rewards, default=0.0)),
        "high": short(max(rewards, default=1.0)),
        "groups": [_group_view(group, urls) for group in groups],
    }


def _group_view(group: GroupRow, urls: Mapping[str, str]) -> dict[str, Any]:
    return {
        "index": group.index,
        "prompt": group.prompt,
        "mean": short(group.reward_mean),
        "std": short(group.reward_std),
        "gate": short(group.gate),
        "has_preference": group.has_preference,
        "samples": [_sample_view(sample, group, urls[sample.sha]) for sample in group.samples],
    }


def _sample_view(sample: SampleRow, group: GroupRow, url: str) -> dict[str, Any]:
    return {
        "member": sample.member,
        "seed": str(sample.seed),  # a seed may be larger than a browser's whole numbers
        "url": url,
        "reward": short(sample.reward),
        "advantage": short(sample.advantage),
        "side": side(sample, group),
        "terms": [[name, short(value)] for name, value in sample.terms],
    }


def side(sample: SampleRow, group: GroupRow) -> str:
    """The side of a picture: 'preferred', 'dispreferred', or 'neutral' where the step pulls it neither way."""
    if not group.has_preference or sample.reward is None or sample.advantage == 0:
        return "neutral"
    return "preferred" if sample.advantage > 0 else "dispreferred"


def worst_first(samples: Sequence[ExaminedRow]) -> list[ExaminedRow]:
    """The pictures of an examination, worst score first and unscored last."""
    return sorted(samples, key=lambda one: (one.score is None, one.score or 0.0, one.id))


def heldout_view(
    run: RunRow, examination: EvaluationRow, samples: Sequence[ExaminedRow], urls: Mapping[str, str]
) -> dict[str, Any]:
    """The pictures of an examination as they come; is_first while no group is drawn yet; urls as in examined_view."""
    return {
        "run": run.id,
        "examination": examination.id,
        "step": examination.step,
        "is_first": run.step < 0,
        "title": heldout_title(examination),
        "samples": examined_view(samples, urls),
    }


def heldout_title(examination: EvaluationRow) -> str:
    """Which policy drew the pictures of an examination, and how well."""
    by = "the base" if examination.policy == "base" else f"the {examination.policy} policy"
    when = f"at step {examination.step}" if examination.step else "before the first step"
    score = short(examination.score)
    return f"drawn by {by} {when}, " + ("without a score" if score is None else f"score {score:.2f}")


def examined_view(samples: Sequence[ExaminedRow], urls: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Pictures of an examination, or drawn on request; urls has some of them by SHA-256, others are where they are."""
    return [
        {
            "prompt": sample.prompt,
            "category": sample.category,
            "seed": str(sample.seed),
            "score": short(sample.score),
            "details": sample.details,
            "url": (urls or {}).get(sample.sha) or picture_url(sample.sha),
        }
        for sample in samples
    ]


def diary_view(rows: Sequence[EventRow]) -> list[dict[str, Any]]:
    """Lines of a run's diary."""
    return [
        {"id": row.id, "created": row.created, "step": row.step, "kind": row.kind, "message": row.message}
        for row in rows
    ]
