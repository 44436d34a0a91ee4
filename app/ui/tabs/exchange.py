"""Labels out of the lab and into it, a part of the People tab: one file to save, one file to bring."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from app.lab import EXPORT_LAYOUTS, Lab
from app.store.reader import Reader
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.live import Live, whole_number
from dgpo_core.errors import ExchangeError, LabError

ALL_RUNS = "all"
NUMBER = re.compile(r"\d{1,18}", re.ASCII)
ABOUT_EXPORT = "Every group of the run with its pictures, rewards and labels, as one file."
ABOUT_IMPORT = (
    "A file that was exported here, or a ZIP file of your own ranked folders: one per prompt, its pictures named "
    "by their place (1.png is best). All of it is taken in as a new run, or nothing. docs/people.md has every layout."
)
# Slow handlers go through the queue, one at a time over all pages.
SLOW: dict[str, Any] = {"concurrency_id": "exchange", "concurrency_limit": 1, "show_progress": "minimal"}


def exchange_section(lab: Lab, live: Live) -> None:
    """Draws both halves. Which run and layout are chosen is all that it remembers."""
    reader = lab.reader
    changes = changes_panel(live, topic="exchange", fingerprint=lambda _: _choices(reader))
    with gr.Accordion("Export and import labels", open=False, elem_id="exchange"), gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            live.panel("words.js", value=ABOUT_EXPORT, elem_classes="small")
            run = stored_choice(label="Run to export", elem_id="export-run")
            layout = gr.Dropdown(
                [(f"{name}: {words}", name) for name, words in EXPORT_LAYOUTS.items()],
                value="groups",
                label="Layout",
                elem_id="export-layout",
            )
            export = gr.Button("Make the file", elem_id="export-ask")
            refused = live.panel("words.js", elem_id="export-trouble", elem_classes="trouble")
            file = gr.File(label="Ready to save", interactive=False, visible=False, elem_id="export-file")
        with gr.Column(min_width=300):
            live.panel("words.js", value=ABOUT_IMPORT, elem_classes="small")
            upload = gr.File(label="ZIP or Parquet file", height=120, elem_id="import-file")
            name = gr.Textbox(
                label="Name of the run it becomes", info="Empty: the file's.", max_lines=1, elem_id="import-name"
            )
            take = gr.Button("Import", elem_id="import-ask")
            trouble = live.panel("words.js", elem_id="import-trouble", elem_classes="trouble")
            done = live.panel("words.js", elem_id="import-done")

    def make(run_id: Any, chosen: Any) -> Iterator[list[Any]]:
        yield from exported(lab, run_id, chosen)

    def bring(brought: Any, called: Any) -> list[Any]:
        return imported(lab, brought, called)

    changes.stale(
        lambda run_id: offered(reader, run_id),
        run,
        run,
        trigger_mode="always_last",
        api_name="exchange_refresh",
        **QUICK,
    )
    export.click(make, [run, layout], [refused, file], api_name="labels_export", **SLOW)
    take.click(bring, [upload, name], [trouble, done, upload], api_name="labels_import", **SLOW)


def exported(lab: Lab, run_id: Any, layout: Any) -> Iterator[list[Any]]:
    """Why there is no file, and the file; Gradio has made a copy when this goes on, so that ours can go."""
    yield ["", gr.update(visible=False, value=None)]
    with TemporaryDirectory(prefix="export-", dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
        try:
            chosen = None if run_id == ALL_RUNS else _run(run_id)
            file = lab.actions.export_groups(chosen, str(layout), Path(folder))
        except LabError as error:
            yield [str(error), gr.skip()]
        else:
            yield ["", gr.update(visible=True, value=str(file))]


def imported(lab: Lab, brought: Any, name: Any) -> list[Any]:
    """Why nothing was taken, what came, and the place of the file, which is emptied where it was taken."""
    try:
        if not isinstance(brought, str):
            raise ExchangeError("There is no file yet. Choose one first.")
        file = Path(brought)
        done = lab.actions.import_groups(file, str(name or "").strip() or file.stem)
    except LabError as error:
        return [str(error), "", gr.skip()]
    return ["", done, None]


def _run(run_id: Any) -> int:
    if (number := whole_number(run_id)) is not None:
        return number
    if run_id and (typed := NUMBER.fullmatch(str(run_id).strip())):
        return int(typed[0])
    if run_id:
        raise ExchangeError(f"{str(run_id)[:80]!r} is no run. Choose one from the list.")
    raise ExchangeError("There is no run to export yet. Start one, or bring labels of your own.")


def _choices(reader: Reader) -> list[tuple[str, Any]]:
    runs = [(f"{run.name} (run {run.id})", run.id) for run in reader.runs()]
    return [*runs, ("All runs", ALL_RUNS)] if runs else []


def offered(reader: Reader, run_id: Any) -> Any:
    """The choice of runs, newest first, and the chosen one, else the newest."""
    choices = _choices(reader)
    known = [value for _, value in choices]
    return gr.update(choices=choices, value=run_id if run_id in known else next(iter(known), None))
