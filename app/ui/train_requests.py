"""What the Train tab asks of the lab: start, pause, go on, resume, stop, save, sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from app.lab import Lab
from app.prompts import keep_prompts
from app.store.reader import Reader
from app.ui.fields import config_of, partial_config_of
from app.ui.live import whole_number
from app.ui.runs_views import flattened
from dgpo_core.config import RunConfig, settings, to_dict
from dgpo_core.data.prompts import parse_prompts
from dgpo_core.errors import ConfigError, LabError, PromptError
from dgpo_core.events import Command, Pause, Resume, SampleNow, SaveNow, Stop
from dgpo_core.recipe_check import cautions

OWN_PROMPTS = "my own prompts (below)"
MAX_SAMPLED = 16
DIARY_SEARCHED = 1000
MEMORY_SETTINGS = tuple(
    setting.path
    for setting in settings()
    if setting.path.startswith(("model.", "reward.", "rollout.group"))
    or setting.path
    in (
        "people.clip_folder",
        "rollout.sampler",
        "rollout.num_sampling_steps",
        "loss.kl_weight",
        "loss.reference_every",
        "update.per_sigma",
        "update.micro_batch",
        "schedule.evaluation_prompts",
    )
)
"""What the memory of a run depends on."""
COMMANDS: dict[str, tuple[Command, str]] = {
    "pause": (Pause(), ""),
    "go_on": (Resume(), ""),
    "stop": (Stop(), ""),
    "save": (SaveNow(), "A checkpoint will be saved after this step."),
}


def start(lab: Lab, own_prompts: str, values: Sequence[Any]) -> int:
    """Start a run with the form's values and return its id.

    Raises:
        LabError: a setting or prompt is wrong, or a run is live; the message is for the form.
    """
    config = config_of(values)
    if config.prompts.train == OWN_PROMPTS:
        path = keep_prompts(own_prompts, lab.settings.own_prompts).relative_to(lab.settings.folder)
        config = replace(config, prompts=replace(config.prompts, train=str(path)))
    return lab.actions.start(config)


def cautions_of(values: Sequence[Any]) -> str:
    """What to reconsider about the form's settings, one line each. A setting that is wrong is told by start()."""
    try:
        return "\n".join(cautions(config_of(values)))
    except ConfigError:
        return ""


def memory_of(lab: Lab, values: Sequence[Any]) -> str:
    """What memory a run would take with these MEMORY_SETTINGS, or why that is not known, and what the newest run with
    the same ones took; empty for a wrong setting, which is told by start()."""
    try:
        config = partial_config_of(MEMORY_SETTINGS, values)
    except ConfigError:
        return ""
    try:
        expected = lab.actions.memory_in_words(config)
    except LabError as error:
        expected = str(error)
    return "\n".join(filter(None, (expected, memory_taken(lab.reader, config))))


def memory_taken(reader: Reader, config: RunConfig) -> str:
    """What the newest run with the same MEMORY_SETTINGS took, as its diary says; empty where none has said."""
    wanted = _memory_settings(to_dict(config))
    for run in reader.runs():
        if _memory_settings(run.config) != wanted:
            continue
        diary = reader.diary(run.id, limit=DIARY_SEARCHED, newest=True)
        if said := [row.message for row in diary if row.kind == "memory"]:
            return f"{run.name} (run {run.id}), with these settings: {said[-1]}"
    return ""


def _memory_settings(values: dict[str, Any]) -> dict[str, Any]:
    flat = flattened(values)
    return {path: flat.get(path) for path in MEMORY_SETTINGS}


def acting(lab: Lab) -> Callable[[dict[str, Any]], dict[str, str]]:
    """The server function of the buttons: {"action", "run", ...} to {"done"} or {"error"}, each one sentence."""

    def act(request: dict[str, Any]) -> dict[str, str]:
        run_id = whole_number(request.get("run"))
        if run_id is None:
            return {"error": "There is no run yet. Press Start first."}
        try:
            return {"done": _act(lab, run_id, request)}
        except LabError as error:
            return {"error": str(error)}

    return act


def _act(lab: Lab, run_id: int, request: dict[str, Any]) -> str:
    action = request.get("action")
    if action == "resume":
        lab.actions.resume(run_id)
        return ""
    if action == "sample":
        lab.actions.send(run_id, sample_command(request.get("prompts"), request.get("seed")))
        return "The pictures are drawn after this step."
    if not isinstance(action, str) or action not in COMMANDS:
        raise LabError(f"action must be one of {', '.join([*COMMANDS, 'resume', 'sample'])}, got {str(action)[:40]!r}.")
    command, answer = COMMANDS[action]
    lab.actions.send(run_id, command)
    return answer


def sample_command(prompts: Any, seed: Any) -> SampleNow:
    """The command to draw the prompts of a text, one per line.

    Raises:
        PromptError: no prompt, too many, or one that cannot be read; or the seed is no whole number.
    """
    asked = tuple(parse_prompts(str(prompts or ""), "The box"))
    if len(asked) > MAX_SAMPLED:
        raise PromptError(f"At most {MAX_SAMPLED} prompts can be drawn at once, got {len(asked)}. Remove some.")
    number = whole_number(seed)
    if number is None or number >= 2**31:
        raise PromptError(f"The seed must be a whole number from 0 to {2**31 - 1}. Type one, such as 0.")
    return SampleNow(prompts=asked, seed=number)
