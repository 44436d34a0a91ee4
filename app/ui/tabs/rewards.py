"""The Rewards tab: try any reward on pictures of one's own or on a stored group, before a run relies on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.lab import Lab
from app.store.reader import Reader
from app.store.rows import TrialRow, TrialWish
from app.ui import trial_views as views
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.live import Live, whole_number
from dgpo_core.errors import LabError, StoreError
from dgpo_core.reward_names import REWARD_FACTS

TO_TRY = [name for name, facts in REWARD_FACTS.items() if not facts.needs_labels]
"""What was learned from labels judges with a run's model, which is not loaded here."""
MOST_BYTES = 16 * 2**20
OWN_PICTURES, STORED_GROUP = "Pictures of my own", "A group of a run"


def rewards_tab(lab: Lab, live: Live) -> None:
    """Draws the tab. What is chosen and typed is all that it remembers."""
    reader = lab.reader
    changes = changes_panel(live, topic="trials", fingerprint=lambda _: (reader.trials(), _steps(reader)))
    with gr.Row(elem_id="trial-form", equal_height=False):
        with gr.Column(scale=2, min_width=300):
            reward = gr.Dropdown(
                TO_TRY,
                value=TO_TRY[0],
                label="Reward",
                info="A name, a mixture, or yours as file.py:function.",
                allow_custom_value=True,
                elem_id="trial-reward",
            )
            facts = live.panel("words.js", value=views.facts_of(TO_TRY[0]), elem_id="trial-facts")
            with gr.Accordion("Server and models", open=False):
                server = gr.Textbox(
                    label="Server",
                    info="For remote, hpsv3 and deqa, which need one; judges without one run in this process.",
                    max_lines=1,
                )
                server_model = gr.Textbox(label="Server model", max_lines=1)
                models_folder = gr.Textbox(label="Models folder", info="Empty fetches from the hub.", max_lines=1)
        with gr.Column(scale=3, min_width=320):
            source = gr.Radio(
                [OWN_PICTURES, STORED_GROUP], value=OWN_PICTURES, label="Try it on", elem_id="trial-source"
            )
            own, files, prompt, note = _draw_own_pictures()
            with gr.Group(visible=False) as stored:
                run = stored_choice(label="Run", elem_id="trial-run")
                step = gr.Number(0, label="Step", info="As the wall counts them, from 0.", elem_id="trial-step")
                group = gr.Number(0, label="Group", info="From 0.", elem_id="trial-group")
            ask = gr.Button("Try", variant="primary", elem_id="trial-ask")
    trouble = live.panel("words.js", elem_id="trial-trouble", elem_classes="trouble")
    chosen = stored_choice(label="Trials", elem_id="trial-chosen")
    heading = live.panel("words.js", elem_id="trial-heading")
    pictures = live.panel("tried.js", elem_id="trial-pictures")
    histogram = live.panel("table.js", elem_id="trial-histogram")

    def refresh(trial_id: Any, run_id: Any) -> list[Any]:
        return [_runs(reader, run_id), *_opened(reader, trial_id)]

    def attempt(kind: str, *values: Any) -> list[Any]:
        try:
            trial_id = lab.actions.try_reward(_wish(kind, values))
        except LabError as error:
            return [str(error), *[gr.skip()] * 4]
        return ["", *_opened(reader, trial_id)]

    opened = [chosen, heading, pictures, histogram]
    form = [source, reward, files, prompt, note, run, step, group, server, server_model, models_folder]
    changes.stale(
        refresh, [chosen, run], [run, *opened], trigger_mode="always_last", api_name="trials_refresh", **QUICK
    )
    ask.click(attempt, form, [trouble, *opened], api_name="try_reward", **QUICK)
    chosen.input(lambda trial_id: _opened(reader, trial_id), chosen, opened, api_name="trials_open", **QUICK)
    reward.change(views.facts_of, reward, facts, api_visibility="private", **QUICK)
    source.change(_show_source, source, [own, stored], api_visibility="private", **QUICK)


def _draw_own_pictures() -> tuple[gr.Group, gr.File, gr.Textbox, gr.Textbox]:
    """Controls for pictures, their prompt and what is known of it."""
    with gr.Group(visible=True) as own:
        files = gr.File(
            label="Pictures",
            file_count="multiple",
            file_types=[".png", ".jpg", ".jpeg", ".webp"],
            height=120,
            elem_id="trial-files",
        )
        prompt = gr.Textbox(label="Prompt", max_lines=3, elem_id="trial-prompt")
        note = gr.Textbox(
            label="Metadata",
            info='What a prompt file would say beside it, as JSON: {"text": "OPEN"}. May be empty.',
            max_lines=3,
            elem_id="trial-note",
        )
    return own, files, prompt, note


def _show_source(source: str) -> list[Any]:
    return [gr.update(visible=source == OWN_PICTURES), gr.update(visible=source == STORED_GROUP)]


def _steps(reader: Reader) -> list[tuple[int, str, bool]]:
    """What the choice of runs depends on, but not every step of theirs."""
    return [(run.id, run.name, run.step >= 0) for run in reader.runs()]


def _wish(source: str, values: tuple[Any, ...]) -> TrialWish:
    """What the form asks for.

    Raises:
        StoreError: a stored group is wanted and none is named, or a picture's file is too large.
    """
    reward, files, prompt, note, run_id, step, group, *places = values
    server, server_model, models_folder = (str(one or "").strip() for one in places)
    wish = TrialWish(
        reward=str(reward or "").strip(), server=server, server_model=server_model, models_folder=models_folder
    )
    if source != STORED_GROUP:
        return replace(
            wish,
            prompt=str(prompt or "").strip(),
            note=str(note or ""),
            files=tuple(map(_bytes_of, files or [])),
        )
    numbers = [
        whole_number(int(one)) if isinstance(one, int | float) and one == one // 1 else None for one in (step, group)
    ]
    if whole_number(run_id) is None or None in numbers:
        raise StoreError("Choose a run, and a step and a group as whole numbers from 0, such as the wall shows.")
    return replace(wish, run_id=run_id, step=numbers[0], group_index=numbers[1])


def _bytes_of(file: str) -> bytes:
    if (size := Path(file).stat().st_size) > MOST_BYTES:
        raise StoreError(
            f"{Path(file).name} has {size // 2**20} MB; a picture may have {MOST_BYTES // 2**20}. Make it smaller."
        )
    return Path(file).read_bytes()


def _runs(reader: Reader, run_id: Any) -> Any:
    choices = views.run_choices(reader.runs())
    known = [value for _, value in choices]
    return gr.update(choices=choices, value=run_id if run_id in known else next(iter(known), None))


def _opened(reader: Reader, trial_id: Any) -> list[Any]:
    """The chosen trial, else the newest: its entry, its words, its pictures, its histogram."""
    trials = reader.trials()
    trial = next((one for one in trials if one.id == trial_id), next(iter(trials), None))
    if trial is None:
        return [gr.update(choices=[], value=None), views.NO_TRIAL, None, None]
    pictures = reader.trial_pictures(trial.id)
    return [
        gr.update(choices=views.trial_choices(trials), value=trial.id),
        views.heading(trial, pictures, is_labelled=_is_labelled(reader, trial)),
        views.tried(pictures),
        views.histogram(pictures) if trial.is_done else None,
    ]


def _is_labelled(reader: Reader, trial: TrialRow) -> bool:
    """Whether people have said anything of the trial's group by now."""
    if trial.run_id is None or trial.step is None:
        return False
    return any(label.group_index == trial.group_index for label in reader.labels_of_step(trial.run_id, trial.step))
