"""The Runs tab: all runs, and everything that is known of the one that is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.lab import Lab
from app.store.reader import Reader
from app.store.rows import RunRow
from app.ui import runs_views as views
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.charts import curves_panel
from app.ui.comparison_request import chosen_run
from app.ui.fields import Fields, values_of
from app.ui.live import Live
from app.ui.tabs.saving import offered, saving_section
from dgpo_core.config import from_dict
from dgpo_core.errors import LabError, StoreError

TABLES = ("examinations", "checkpoints", "diary")
OPEN_TRAIN = "document.querySelector('#tabs [role=tab]').click()"
SHOW_IN_TRAIN = f"(id) => {{ window.dispatchEvent(new CustomEvent('lab:show', {{ detail: id }})); {OPEN_TRAIN}; }}"


def runs_tab(lab: Lab, live: Live, form: Fields) -> None:
    """Draws the tab. form is the Train tab's form; a run's settings can be put into it."""
    reader = lab.reader
    changes = changes_panel(live, topic="runs", fingerprint=lambda _: fingerprint(reader))
    chosen = gr.Number(None, precision=0, visible=False)  # the open run; a gr.State would not reach SHOW_IN_TRAIN
    runs = live.panel("table.js", can_choose=True, events=("choose",), elem_id="runs-list")
    said = live.panel("words.js", elem_id="runs-said", elem_classes="trouble")
    with gr.Column(visible=False, elem_id="run-details") as details:
        facts = live.panel("words.js", elem_id="run-facts", elem_classes="heading")
        failure = gr.Textbox(label="What went wrong, in detail", max_lines=15, interactive=False, visible=False)
        buttons = _draw_buttons(live)
        step = saving_section(lab, live, chosen)
        labels = _draw_labels(live)
        other = stored_choice(label="Set beside another run", elem_id="run-other")
        difference = live.panel("table.js", elem_id="run-difference")
        curves = curves_panel(live, topic="run curves", value=[], elem_id="run-curves")
        tables = [live.panel("table.js", elem_id=f"run-{name}") for name in TABLES]
    following = [runs, details, facts, failure, buttons["resume"], step, other, difference, curves, *tables]
    named = [labels["name"], labels["notes"], buttons["recipe"], buttons["question"]]
    opening = [chosen, buttons["confirmation"], *named]  # a question about one run must not be answered for another

    def shown(run: RunRow | None, open_id: int | None, step: int | None, other_id: int | None) -> list[Any]:
        """What the store says now. Of a run that is open already, what a person may be typing is left alone, and
        so is which run is open: an answer that comes late must not lay one run's notes at another's door."""
        is_open = run is not None and run.id == open_id
        return [*_following(reader, run, step, other_id), *([gr.skip()] * len(opening) if is_open else _opening(run))]

    def follow(open_id: int | None, step: int | None, other_id: int | None) -> list[Any]:
        return shown(chosen_run(reader.runs(), open_id), open_id, step, other_id)

    def open_run(open_id: int | None, event: gr.EventData) -> list[Any]:
        return ["", *shown(reader.run(int(event.id)), open_id, None, None)]

    outputs = following + opening
    changes.stale(follow, [chosen, step, other], outputs, trigger_mode="always_last", api_name="runs_refresh", **QUICK)
    runs.choose(open_run, chosen, [said, *outputs], api_name="runs_open", **QUICK)
    other.input(
        lambda run_id, other_id: _beside(reader, reader.run(run_id), other_id),
        [chosen, other],
        [difference, curves],
        api_name="runs_beside",
        **QUICK,
    )
    _listen_labels(lab, chosen, said, labels, [buttons["recipe"], buttons["question"]])
    _listen_buttons(lab, chosen, said, buttons, form)


def _draw_buttons(live: Live) -> dict[str, Any]:
    """What can be done with the open run, and the question that comes before deleting it."""
    with gr.Row(elem_classes="run-buttons"):
        buttons: dict[str, Any] = {
            "resume": gr.Button("Resume", elem_id="run-resume", size="sm", min_width=150),
            "show": gr.Button("Show in Train", elem_id="run-show", size="sm", min_width=150),
            "reuse": gr.Button("Use these settings", elem_id="run-reuse", size="sm", min_width=150),
            "recipe": live.panel("download.js", label="Download recipe", elem_id="run-recipe", min_width=150),
            "delete": gr.Button("Delete", elem_id="run-delete", size="sm", min_width=150),
        }
    with gr.Row(visible=False, elem_id="run-confirmation") as confirmation:
        question = live.panel("words.js", elem_id="run-question", scale=3, min_width=240)
        really = gr.Button("Delete for good", variant="stop", elem_id="run-really-delete", size="sm", min_width=150)
        keep = gr.Button("Keep it", elem_id="run-keep", size="sm", min_width=150)
    return buttons | {"confirmation": confirmation, "question": question, "really": really, "keep": keep}


def _draw_labels(live: Live) -> dict[str, Any]:
    """Name and notes, saved together."""
    with gr.Row(equal_height=False):
        name = gr.Textbox(label="Name", max_lines=1, elem_id="run-name", scale=1, min_width=200)
        notes = gr.Textbox(label="Notes", lines=2, max_lines=10, elem_id="run-notes", scale=2, min_width=240)
    with gr.Row():
        save = gr.Button("Save name and notes", elem_id="run-save", size="sm", scale=0, min_width=200)
        saved = live.panel("words.js", elem_id="run-saved", elem_classes="small", scale=1)
    return {"name": name, "notes": notes, "save": save, "saved": saved}


def _listen_labels(
    lab: Lab, chosen: gr.Number, said: gr.HTML, labels: dict[str, Any], named_after: list[gr.HTML]
) -> None:
    """named_after are the panels that carry the run's name: its recipe and the question before deleting it."""

    def save(run_id: int, name: str, notes: str) -> list[Any]:
        try:
            lab.actions.rename(run_id, name)
            lab.actions.set_notes(run_id, notes)
            run = _existing(lab.reader, run_id)
        except LabError as error:
            return [str(error), "", gr.skip(), gr.skip()]
        return ["", f"Saved {datetime.now(UTC):%H:%M:%S} UTC.", views.recipe(run), views.deletion_question(run)]

    inputs = [chosen, labels["name"], labels["notes"]]
    labels["save"].click(save, inputs, [said, labels["saved"], *named_after], api_name="runs_save", **QUICK)


def _listen_buttons(lab: Lab, chosen: gr.Number, said: gr.HTML, buttons: dict[str, Any], form: Fields) -> None:
    def resume(run_id: int) -> str:
        return _said(lambda: lab.actions.resume(run_id), "Resumed. The Train tab shows it live.")

    def delete(run_id: int) -> list[Any]:
        return [_said(lambda: lab.actions.delete(run_id), f"Run {run_id} is deleted."), _hidden()]

    def reuse(run_id: int) -> list[Any]:
        try:
            config = from_dict(views.settings_of(_existing(lab.reader, run_id)))
        except LabError as error:
            return [str(error), *[gr.skip()] * len(form.controls)]
        return ["These settings now stand in the form of the Train tab.", *values_of(config)]

    confirmation = buttons["confirmation"]
    buttons["resume"].click(resume, chosen, said, api_name="runs_resume", **QUICK)
    buttons["show"].click(None, chosen, None, js=SHOW_IN_TRAIN)
    buttons["reuse"].click(reuse, chosen, [said, *form.controls], api_name="runs_reuse", **QUICK)
    buttons["delete"].click(_shown, None, confirmation, api_visibility="private", **QUICK)
    buttons["keep"].click(_hidden, None, confirmation, api_visibility="private", **QUICK)
    buttons["really"].click(delete, chosen, [said, confirmation], api_name="runs_delete", **QUICK)


def _shown() -> Any:
    return gr.update(visible=True)


def _hidden() -> Any:
    return gr.update(visible=False)


def _said(action: Callable[[], object], done: str) -> str:
    """The words for the person: done, or why it could not be."""
    try:
        action()
    except LabError as error:
        return str(error)
    return done


def _existing(reader: Reader, run_id: int) -> RunRow:
    if (run := reader.run(run_id)) is None:
        raise StoreError(f"Run {run_id} is not there any more; it may have been deleted on another page. Open another.")
    return run


def fingerprint(reader: Reader) -> Any:
    """Differs when anything the tab shows does. What is saved, dropped or examined is also a line in a diary."""
    runs = [
        (run.id, run.name, run.notes, run.state, run.step, run.first_score, run.last_score) for run in reader.runs()
    ]
    return runs, reader.latest_diary_line()


def _following(reader: Reader, run: RunRow | None, step: int | None, other_id: int | None) -> list[Any]:
    """Everything on the tab that follows the store."""
    now = datetime.now(UTC)
    runs = reader.runs()
    listed = views.run_table(runs, run.id if run else None, now)
    if run is None:
        return [listed, _hidden(), "", _hidden(), *[gr.skip()] * 3, None, [], None, None, None]
    checkpoints = reader.checkpoints(run.id)
    others = views.other_choices(runs, run.id)
    other_id = other_id if other_id in [value for _, value in others] else None
    return [
        listed,
        _shown(),
        views.facts(run, now, has_checkpoint=bool(checkpoints)),
        gr.update(value=run.details, visible=True) if run.details else _hidden(),
        gr.update(interactive=views.can_resume(run, runs)),
        offered(checkpoints, step),
        gr.update(choices=others, value=other_id),
        *_beside(reader, run, other_id),
        views.evaluation_table(reader.evaluations(run.id)),
        views.checkpoint_table(checkpoints),
        views.diary_table(reader.diary(run.id, limit=views.DIARY_SHOWN, newest=True)),
    ]


def _beside(reader: Reader, run: RunRow | None, other_id: int | None) -> list[Any]:
    """The settings in which the open run and another differ, and the runs whose curves are drawn."""
    other = reader.run(other_id) if other_id is not None else None
    if run is None or other is None:
        return [None, [run.id] if run else []]
    return [views.difference_table(run, other), [run.id, other.id]]


def _opening(run: RunRow | None) -> list[Any]:
    """What is filled in only when a run opens: number, name, notes, recipe, and the question of deleting, unasked."""
    if run is None:
        return [None, _hidden(), "", "", None, ""]
    return [run.id, _hidden(), run.name, run.notes, views.recipe(run), views.deletion_question(run)]
