"""What happens in a run, one frozen value per event, and what may be asked of a run.

The trainer emits events and asks for commands; it does not know who listens.
Pictures travel as PNG bytes, so that words stay free of any image library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """What a run is doing now."""

    LOADING = "loading the model"
    SAMPLING = "drawing groups"
    SCORING = "scoring"
    LABELLING = "waiting for labels"
    UPDATING = "updating the policy"
    EXAMINING = "examining on held-out prompts"
    COMPARING = "comparing with the base"
    SAVING = "saving a checkpoint"
    PAUSED = "paused"


class EndReason(StrEnum):
    """Why a run ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSample:
    """One picture of a group. seed remakes its starting noise; a reward of None is no opinion."""

    member: int
    seed: int
    png: bytes
    reward: float | None
    terms: tuple[tuple[str, float], ...]
    advantage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroup:
    """All pictures of one prompt in one step. gate is sigmoid of the group's preference, mean over updates.

    A group without preference (all rewards equal) has advantages of zero and is not trained on.
    """

    index: int
    prompt: str
    samples: tuple[ScoredSample, ...]
    reward_mean: float
    reward_std: float
    gate: float
    has_preference: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Numbers of one step, nan for what it had nothing to measure on; docs/metrics.md says what each means."""

    reward_mean: float
    reward_std: float
    preference_fraction: float
    gate: float
    clipped_fraction: float
    kl: float
    velocity_error: float
    grad_norm: float
    sampling_seconds: float
    decoding_seconds: float
    scoring_seconds: float
    updating_seconds: float
    other_seconds: float
    step_seconds: float
    network_evaluations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The trainer holds the model and begins at first_step (above zero after a resume)."""

    first_step: int
    num_steps: int
    num_trainable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChanged:
    """What the run does now, with done of total within it."""

    step: int
    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PostedGroup:
    """A group that waits for people: its pictures as PNG, in the order of its members."""

    index: int
    prompt: str
    pngs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsPosted:
    """The groups of a step that now wait for people's labels; num_repeats more are asked again of who judged them."""

    step: int
    groups: tuple[PostedGroup, ...]
    num_repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsClosed:
    """The wait for labels is over: of num_groups drawn, people were asked about num_asked.

    rest is a clause that says what became of the groups without a label, asked about or not.
    """

    step: int
    num_groups: int
    num_asked: int
    num_labelled: int
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceLearned:
    """A new version of the preference model, learned from the labels of all steps before this one.

    accuracy, the share of held-out pairs it orders as people did, and calibration_error are None where there were too
    few groups to hold any out; bins are (how sure it was, how often it was right, pairs).
    """

    step: int
    version: int
    folder: str
    num_groups: int
    num_labels: int
    accuracy: float | None
    calibration_error: float | None
    bins: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One whole step: its groups and its numbers."""

    step: int
    groups: tuple[ScoredGroup, ...]
    metrics: StepMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One picture of an examination; details names what the reward found or missed."""

    prompt: str
    category: str
    seed: int
    score: float | None
    details: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationDone:
    """An examination on held-out prompts: mean score, and quality numbers never trained on.

    score is None where the reward had no opinion on any picture.
    """

    step: int
    policy: str
    score: float | None
    quality: tuple[tuple[str, float], ...]
    samples: tuple[Examined, ...]

    def score_in_words(self) -> str:
        """The score as the diary and the terminal say it."""
        return "none, as the reward had no opinion" if self.score is None else f"{self.score:.3f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDone:
    """The same prompts and seeds drawn before (base) and after (a checkpoint or the policy at a step)."""

    request_id: int
    step: int
    before: tuple[Examined, ...]
    after: tuple[Examined, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonFailed:
    """A comparison that was asked for could not be made; message says why."""

    request_id: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint that can be resumed from and loaded; folder is its name among the run's checkpoints."""

    step: int
    folder: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDropped:
    """An older checkpoint was removed to keep to the number asked for."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Pictures drawn on request, with the policy as it was."""

    step: int
    samples: tuple[Examined, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something a person should know that did not stop the run, and the pictures that show it, if any."""

    step: int
    message: str
    samples: tuple[Examined, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTaken:
    """The most of a GPU's memory that a run has taken so far, in bytes, beside what was expected before it began.

    pool is the most that torch held of the GPU, used or not; uncounted are rewards that are not in what was expected.
    """

    step: int
    taken: int
    pool: int
    expected: int
    uncounted: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Both in gigabytes, and how far the estimate was off."""
        off = round(100 * (self.expected / self.taken - 1)) if self.taken else 0
        by = f"{abs(off)}% {'more' if off > 0 else 'less'}" if off else "the same"
        left_out = f", without {', '.join(self.uncounted)}" if self.uncounted else ""
        return (
            f"Took {self.taken / 1e9:.1f} GB of the GPU's memory at most so far; about {self.expected / 1e9:.1f} GB "
            f"were expected{left_out}, {by}. With what torch keeps ready it was {self.pool / 1e9:.1f} GB."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The run is over, saved up to step."""

    step: int
    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """The run died of an exception; message is for the page, details for whoever looks closer."""

    step: int
    message: str
    details: str


Event = (
    RunStarted
    | PhaseChanged
    | StepDone
    | GroupsPosted
    | GroupsClosed
    | PreferenceLearned
    | EvaluationDone
    | ComparisonDone
    | ComparisonFailed
    | CheckpointSaved
    | CheckpointDropped
    | Preview
    | Warned
    | MemoryTaken
    | RunEnded
    | RunFailed
)


@dataclass(frozen=True, slots=True)
class Pause:
    """Finish the step, keep the model loaded, wait."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave at the next denoising step or micro-batch, save the last whole step."""


@dataclass(frozen=True, slots=True)
class SaveNow:
    """Save a checkpoint after this step."""


@dataclass(frozen=True, slots=True)
class SampleNow:
    """Draw these prompts with the policy as it is."""

    prompts: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class ExamineNow:
    """Examine the averaged weights after this step, on the run's own examination prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How the pictures of a comparison are drawn; None is what the run itself draws with."""

    guidance_scale: float | None = None
    num_sampling_steps: int | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """Draw num_prompts held-out prompts with the base and with the checkpoint of step (None: the policy now)."""

    request_id: int
    step: int | None
    num_prompts: int
    seed: int
    drawing: Drawing = field(default_factory=Drawing)


Command = Pause | Resume | Stop | SaveNow | SampleNow | ExamineNow | Compare
