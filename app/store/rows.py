"""Read models: what the page gets to see, one frozen value per row or list entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dgpo_core.events import Drawing, StepMetrics


class RunState(StrEnum):
    """Where a run stands. An interrupted run lost its process; it can be resumed like a stopped one."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_live(self) -> bool:
        return self in (RunState.STARTING, RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run with its newest numbers; times are UTC ISO strings. step is the last whole step, -1 before the first."""

    id: int
    name: str
    state: RunState
    created: str
    ended: str | None
    config: dict[str, Any]
    notes: str
    step: int
    num_steps: int
    phase: str
    phase_done: int
    phase_total: int
    seconds_per_step: float | None
    first_score: float | None
    last_score: float | None
    message: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """The numbers of one step; pictures is how many its groups have."""

    step: int
    metrics: StepMetrics
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One picture of a group; its bytes are read by picture(sha)."""

    id: int
    member: int
    seed: int
    sha: str
    reward: float | None
    terms: tuple[tuple[str, float], ...]
    advantage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """One prompt's group in one step; samples come sorted by reward, best first, no opinion last."""

    id: int
    step: int
    index: int
    prompt: str
    reward_mean: float
    reward_std: float
    gate: float
    has_preference: bool
    samples: tuple[SampleRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedRow:
    """One picture of an examination, comparison, preview or alarm. side is '', 'before' or 'after'."""

    id: int
    side: str
    prompt: str
    category: str
    seed: int
    score: float | None
    details: str
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """A warning that pictures show; they are those of the 'preview' of this id."""

    id: int
    created: str
    step: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """An examination without its pictures; by_category holds (category, mean score, count).

    score is None where the reward had no opinion on any picture.
    """

    id: int
    step: int
    policy: str
    score: float | None
    quality: tuple[tuple[str, float], ...]
    by_category: tuple[tuple[str, float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A stored or still awaited before/after comparison; step None is 'the policy as it was then'."""

    id: int
    run_id: int
    created: str
    step: int | None
    num_prompts: int
    seed: int
    drawing: Drawing
    is_done: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RacePoint:
    """An examination of a run, and what its training had cost by then, examinations not counted."""

    step: int
    score: float
    quality: tuple[tuple[str, float], ...]
    seconds: float
    pictures: int
    network_evaluations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRunRow:
    """One run of a race with its examinations in order; message is why it failed, if it did."""

    run_id: int
    entrant: str
    learning_rate: float
    seed: int
    is_tuning: bool
    state: RunState
    message: str
    points: tuple[RacePoint, ...]

    @property
    def has_failed(self) -> bool:
        return self.state is RunState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRow:
    """A race; plan is what its file says. ended is None while it is not over."""

    id: int
    name: str
    created: str
    ended: str | None
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """A person's newest label of one group; size is how many pictures the group has.

    repeat_of is the group that this one asks again, and places where each of its pictures lies there.
    """

    id: int
    task_id: int
    step: int
    group_index: int
    rater: str
    created: str
    kind: str
    body: dict[str, Any]
    seconds: float
    size: int
    prompt: str
    repeat_of: int | None = None
    places: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRow:
    """A version of a run's preference model; bins are (how sure it was, how often it was right, pairs)."""

    version: int
    created: str
    step: int
    folder: str
    num_groups: int
    num_labels: int
    accuracy: float | None
    calibration_error: float | None
    bins: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau-b of a label with another opinion of its group: the rater's own ("self"), another person's
    ("person") or an automatic reward's ("reward"); other names whose."""

    label_id: int
    kind: str
    other: str
    tau: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """Mean agreement of one rater, or of all on one prompt, with one other; count is of groups compared."""

    name: str
    kind: str
    other: str
    tau: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterRow:
    """One rater of a run: labels that stand, how many of them repeats, and usual seconds for one; None where each
    of them came back by undoing another."""

    rater: str
    num_labels: int
    num_repeats: int
    seconds_per_label: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTaskRow:
    """A group that people judge: its pictures by SHA-256 in the order of its members."""

    id: int
    run_id: int
    run_name: str
    run_state: RunState
    is_open: bool
    step: int
    group_index: int
    prompt: str
    shas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person sends: request is made anew for every click, so that a retry is known for what it is."""

    task_id: int
    rater: str
    kind: str
    body: dict[str, Any]
    seconds: float
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialWish:
    """A reward that somebody wants to try: on pictures of their own with a prompt, or on a stored group of a run.

    note is JSON of what a prompt file would say beside the prompt; files are pictures in any common format. For a
    stored group server, server_model and models_folder are the run's where they are empty.
    """

    reward: str
    prompt: str = ""
    note: str = ""
    models_folder: str = ""
    server: str = ""
    server_model: str = ""
    files: tuple[bytes, ...] = ()
    run_id: int | None = None
    step: int | None = None
    group_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came of a trial: the self-test, agreement with people's labels (Kendall's tau), and for each picture its
    reward, the terms of it, and the details."""

    passed: bool
    self_test: str
    agreement: float | None
    judged: tuple[tuple[float | None, tuple[tuple[str, float], ...], str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A reward that was tried, or is being tried; passed None is a self-test not yet done."""

    id: int
    created: str
    reward: str
    prompt: str
    run_id: int | None
    step: int | None
    group_index: int | None
    is_done: bool
    message: str
    passed: bool | None
    self_test: str
    agreement: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPictureRow:
    """One picture of a trial."""

    place: int
    sha: str
    reward: float | None
    terms: tuple[tuple[str, float], ...]
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelProgress:
    """How far the labelling of all open groups is, for one person."""

    num_open: int
    num_labelled: int
    num_mine: int
    seconds_per_label: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """A checkpoint on disk; folder is its name among the run's checkpoints."""

    step: int
    folder: str
    num_bytes: int
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A line of a run's diary: started, warned, saved, ended, setting changed."""

    id: int
    created: str
    step: int
    kind: str
    message: str
