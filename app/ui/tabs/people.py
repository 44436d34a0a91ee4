"""The People tab: how steady the raters of a run are, whom they agree with, and what was learned from them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.lab import Lab
from app.store.reader import Reader
from app.store.rows import RunRow
from app.ui import people_views as views
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.live import Live, whole_number
from app.ui.tabs.exchange import exchange_section

TABLES = ("raters", "prompts", "versions")


def people_tab(lab: Lab, live: Live) -> None:
    """Draws the tab. Which run is chosen is all that it remembers."""
    reader = lab.reader
    changes = changes_panel(live, topic="people", fingerprint=lambda _: _fingerprint(reader))
    chosen = stored_choice(label="Run", elem_id="people-run")
    heading = live.panel("words.js", elem_id="people-heading")
    exchange_section(lab, live)
    raters, prompts, versions = (live.panel("table.js", elem_id=f"people-{name}") for name in TABLES)

    def show(run_id: Any) -> list[Any]:
        return _shown(reader, run_id)

    outputs = [chosen, heading, versions, raters, prompts]
    changes.stale(show, chosen, outputs, trigger_mode="always_last", api_name="people_refresh", **QUICK)
    chosen.input(show, chosen, outputs, api_name="people_open", **QUICK)


def _fingerprint(reader: Reader) -> Any:
    """Differs when a label is given, something is learned, or a run with labels comes or goes."""
    return reader.labelled_runs()


def _shown(reader: Reader, run_id: Any) -> list[Any]:
    """The chosen run, else the newest that people labelled."""
    labelled = [one for one, *_ in reader.labelled_runs()]
    runs = [run for run in reader.runs() if run.id in labelled]
    run = _chosen(runs, run_id)
    choices = [(f"{one.name} (run {one.id})", one.id) for one in runs]
    if run is None:
        return [gr.update(choices=[], value=None), views.heading(None, []), None, None, None]
    raters = reader.raters(run.id)
    return [
        gr.update(choices=choices, value=run.id),
        views.heading(run, raters),
        views.preference_table(reader.preferences(run.id)),
        views.rater_table(raters, reader.agreements(run.id)),
        views.prompt_table(reader.agreements(run.id, by="prompt")),
    ]


def _chosen(runs: list[RunRow], run_id: Any) -> RunRow | None:
    wanted = whole_number(run_id)
    return next((run for run in runs if run.id == wanted), next(iter(runs), None))
