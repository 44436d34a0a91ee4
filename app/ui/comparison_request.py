"""Asking for a comparison: what can be chosen, what was asked, and how far it is, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.store.rows import CheckpointRow, ComparisonRow, RunRow, RunState
from app.ui.comparison_views import counted, drawing_in_words
from app.ui.train_views import place_in_phase
from dgpo_core.config import from_dict
from dgpo_core.errors import ConfigError
from dgpo_core.events import Drawing, Phase

POLICY_NOW = "now"
MAX_PROMPTS = 10_000
MAX_SEED = 2**31 - 1


def chosen_run(runs: Sequence[RunRow], run_id: int | None) -> RunRow | None:
    """The run that was chosen if it still exists, else the live one, else the newest."""
    by_id = {run.id: run for run in runs}
    live = next((run for run in runs if run.state.is_live), None)
    return by_id.get(run_id or 0) or live or by_id.get(max(by_id, default=0))


def advice(runs: Sequence[RunRow]) -> str:
    """What to do while no comparison is stored."""
    if not runs:
        return "No runs yet. Open the Train tab and press Start; once a run is on its way, compare it here."
    return "No comparison yet. Choose a run and what of it to compare with the base, then press Compare."


def run_choices(runs: Iterable[RunRow]) -> list[tuple[str, int]]:
    """Runs as dropdown entries; the number keeps runs of one name apart."""
    return [(f"{run.name} (run {run.id}, {run.state.value})", run.id) for run in runs]


def checkpoint_choices(run: RunRow, checkpoints: Iterable[CheckpointRow]) -> list[tuple[str, str]]:
    """What can be compared with the base: the policy now while the run is live, and checkpoints, newest first."""
    now = [("the policy now", POLICY_NOW)] if run.state.is_live else []
    saved = sorted((one.step for one in checkpoints), reverse=True)
    return now + [(f"checkpoint of step {step}", str(step)) for step in saved]


def comparison_choices(comparisons: Iterable[ComparisonRow], runs: Iterable[RunRow]) -> list[tuple[str, int]]:
    """Stored comparisons as dropdown entries, newest first, with those awaited and failed said."""
    names = {run.id: run.name for run in runs}
    return [(_comparison_name(one, names), one.id) for one in sorted(comparisons, key=lambda one: -one.id)]


def _comparison_name(one: ComparisonRow, names: dict[int, str]) -> str:
    state = " · failed" if one.message else "" if one.is_done else " · not done yet"
    step = "policy then" if one.step is None else f"step {one.step}"
    drawn = ", ".join([counted(one.num_prompts, "prompt"), f"seed {one.seed}", *drawing_in_words(one.drawing)])
    return f"{names.get(one.run_id, 'a deleted run')} · {step} · {drawn} · {one.created[:16].replace('T', ' ')}{state}"


def progress(run: RunRow | None, comparison: ComparisonRow) -> str:
    """Where a comparison that is not done stands, in one sentence."""
    if comparison.message:
        return f"This comparison failed: {comparison.message}"
    if run is None:
        return "The run of this comparison was deleted."
    if not run.state.is_live:
        return (
            "The lab is loading the model and drawing the pictures; this takes a while. "
            "If the lab was closed in the meantime, press Compare to ask again."
        )
    if run.phase == Phase.COMPARING:
        return ": ".join(filter(None, ("Drawing pictures", place_in_phase(run)))) + "."
    if run.state is RunState.PAUSED:
        return "Waiting: the run is paused."
    return f"Waiting for its turn: the run is {run.phase or run.state.value}."


def wish(run_id: Any, choice: Any, num_prompts: Any, seed: Any) -> tuple[int, int | None, int, int]:
    """Run, step (None: the policy now), number of prompts and seed as the controls hold them.

    Raises:
        ConfigError: nothing is chosen, or a number is not whole or out of range.
    """
    if not isinstance(run_id, int) or not (choice == POLICY_NOW or str(choice).isdecimal()):
        raise ConfigError(
            "Nothing is chosen to compare with the base. Choose a run that is live or has a checkpoint on disk."
        )
    step = None if choice == POLICY_NOW else int(choice)
    num = _whole("Held-out prompts", num_prompts, 1, MAX_PROMPTS)
    return run_id, step, num, _whole("Seed", seed, 0, MAX_SEED)


def drawing(guidance: Any, steps: Any) -> Drawing:
    """How to draw, as the controls hold it; one that is empty or 0, as Gradio shows empty ones, leaves it to the run.

    Raises:
        ConfigError: a number is out of range, or the steps are not whole.
    """
    named = {"guidance_scale": guidance, "num_sampling_steps": steps}
    chosen = {name: value for name, value in named.items() if value not in (None, 0)}
    rollout = from_dict({"rollout": chosen}).rollout
    return Drawing(**{name: getattr(rollout, name) for name in chosen})


def _whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number in range, or a ConfigError that names the control."""
    if not isinstance(value, int | float) or value != value // 1 or not low <= value <= high:
        got = "nothing" if value is None else f"{value:g}" if isinstance(value, int | float) else repr(value)
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, got {got}. Change it and try again.")
    return int(value)
