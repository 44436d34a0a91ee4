"""Taking a trained model out of the lab, a part of the Runs tab: which checkpoint, in which form, and where it went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr

from app.lab import Lab
from app.saved_models import Form, model_folders, saved_models
from app.store.rows import CheckpointRow
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.live import Live, whole_number
from app.ui.runs_views import saved_table
from dgpo_core.errors import LabError

WHOLE, LORA = Form.WHOLE.value, Form.LORA.value


def saving_section(lab: Lab, live: Live, chosen: gr.Number) -> gr.Dropdown:
    """Draws the row and returns its choice of checkpoints, which the tab fills; chosen is the run that is open."""
    with gr.Row(equal_height=True):
        step = stored_choice(label="Checkpoint to save as a model", elem_id="saving-step", scale=2, min_width=220)
        form = gr.Dropdown([WHOLE, LORA], value=WHOLE, label="As", elem_id="saving-form", scale=1, min_width=160)
        save = gr.Button("Save model", elem_id="saving-ask", scale=1, min_width=140)
    refused = live.panel("words.js", elem_id="saving-trouble", elem_classes="trouble")
    words, place = lab.actions.saving.words, lab.settings.saved_models
    news = changes_panel(live, topic="saving", fingerprint=lambda _: (words(), model_folders(place)), is_of_store=False)
    state = live.panel("words.js", elem_id="saving-state")
    models = live.panel("table.js", elem_id="saved-models")

    def ask(run_id: Any, wanted: Any, how: Any) -> list[str]:
        return asked(lab, run_id, wanted, how)

    def follow() -> list[Any]:
        return [words(), saved_table(saved_models(place))]

    save.click(ask, [chosen, step, form], [refused, state], api_name="runs_save_model", **QUICK)
    news.stale(follow, None, [state, models], trigger_mode="always_last", api_name="runs_saved_models", **QUICK)
    return step


def asked(lab: Lab, run_id: Any, step: Any, form: Any) -> list[str]:
    """Why nothing is saved, and how the newest saving stands."""
    run = whole_number(run_id)
    if run is None:
        return ["No run is open. Choose one from the list first.", lab.actions.saving.words()]
    try:
        lab.actions.saving.start(run, whole_number(step), form == LORA)
    except LabError as error:
        return [str(error), lab.actions.saving.words()]
    return ["", lab.actions.saving.words()]


def offered(checkpoints: Iterable[CheckpointRow], step: Any) -> Any:
    """The checkpoints of a run, newest first, and the chosen one, else the newest."""
    steps = sorted((one.step for one in checkpoints), reverse=True)
    choices = [(f"step {one}", one) for one in steps]
    return gr.update(choices=choices, value=step if step in steps else next(iter(steps), None))
