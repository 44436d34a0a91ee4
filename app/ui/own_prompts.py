"""The choice of prompts to train on: a shipped set, a file brought to the lab, or a text typed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.lab import Lab
from app.prompts import describe_prompts, keep_prompt_file, kept_files
from app.ui.changes import QUICK
from app.ui.fields import Fields
from app.ui.live import Live
from app.ui.train_requests import OWN_PROMPTS
from dgpo_core.data.prompts import shipped_names
from dgpo_core.errors import LabError


def draw_prompts(lab: Lab, live: Live, fields: Fields) -> gr.Textbox:
    """Draw the choice and what belongs to it. Returns the box for a typed text."""
    chosen = fields.draw("prompts.train", label="Prompts", choices=_choices(lab))
    own = gr.Textbox(
        label="My own prompts",
        info="One per line, up to 100,000.",
        lines=4,
        max_lines=12,
        visible=False,
        elem_id="own-prompts",
    )
    found = gr.Textbox(label="Found", interactive=False, visible=False, max_lines=3, elem_id="own-prompts-found")
    # The lab says itself what it reads: file_types would have Gradio refuse a file without a word.
    bring = gr.UploadButton("Bring a prompt file (text, JSON lines, CSV)", size="sm", elem_id="prompt-file")
    refused = live.panel("words.js", elem_id="prompt-file-refused", elem_classes="trouble")
    brought = live.panel("words.js", elem_id="prompt-file-found", elem_classes="small")

    def keep(file: str) -> list[Any]:
        try:
            path, words = keep_prompt_file(Path(file), lab.settings.own_prompts)
        except LabError as error:
            return [str(error), "", gr.skip()]
        place = path.relative_to(lab.settings.folder).as_posix()
        return ["", f"{Path(file).name}: {words}", gr.update(choices=_choices(lab), value=place)]

    chosen.change(_show_own, chosen, [own, found], api_visibility="private", **QUICK)  # type: ignore[attr-defined]
    own.blur(_describe, own, found, api_visibility="private", **QUICK)
    bring.upload(keep, bring, [refused, brought, chosen], api_name="bring_prompts", **QUICK)
    return own


def _choices(lab: Lab) -> list[str]:
    folder = lab.settings.own_prompts
    brought = [(folder / name).relative_to(lab.settings.folder).as_posix() for name in kept_files(folder)]
    return [*shipped_names(), *brought, OWN_PROMPTS]


def _show_own(choice: str) -> list[Any]:
    is_own = choice == OWN_PROMPTS
    return [gr.update(visible=is_own), gr.update(visible=is_own)]


def _describe(text: str) -> str:
    try:
        return describe_prompts(text)
    except LabError as error:
        return str(error)
