"""The choice of prompts: a shipped set or a file brought to the lab, and to train on also a text typed here."""

from __future__ import annotations

from dataclasses import dataclass
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

TRAIN = "prompts.train"
EXAMINED = {"prompts.heldout": "Held-out prompts", "prompts.watch": "Prompts of the watched rewards"}
"""Settings of prompts that no text can be typed for, and their labels."""


@dataclass(frozen=True, slots=True)
class PromptControls:
    """The box for a typed text, the button that a file is brought with, and where its answer is said."""

    own: gr.Textbox
    bring: gr.UploadButton
    refused: gr.HTML
    brought: gr.HTML


def draw_prompts(lab: Lab, live: Live, fields: Fields) -> PromptControls:
    """Draw the choice of prompts to train on and what belongs to it."""
    chosen = fields.draw(TRAIN, label="Prompts", choices=[*_sets(lab), OWN_PROMPTS])
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

    chosen.change(_show_own, chosen, [own, found], api_visibility="private", **QUICK)  # type: ignore[attr-defined]
    own.blur(_describe, own, found, api_visibility="private", **QUICK)
    return PromptControls(own, bring, refused, brought)


def draw_examined_prompts(lab: Lab, fields: Fields) -> None:
    """Draw the choices of prompts that are not trained on."""
    for path, label in EXAMINED.items():
        fields.draw(path, label=label, choices=_sets(lab))


def offer_brought_files(lab: Lab, fields: Fields, controls: PromptControls) -> None:
    """Has every choice of prompts offer what was brought, now and when a page opens; what comes now is trained on."""

    def offered() -> list[Any]:
        sets = _sets(lab)
        return [gr.update(choices=[*sets, OWN_PROMPTS]), *[gr.update(choices=sets) for _ in EXAMINED]]

    def keep(file: str) -> list[Any]:
        try:
            path, words = keep_prompt_file(Path(file), lab.settings.own_prompts)
        except LabError as error:
            return [str(error), "", *[gr.skip() for _ in (TRAIN, *EXAMINED)]]
        trained, *examined = offered()
        place = path.relative_to(lab.settings.folder).as_posix()
        return ["", f"{Path(file).name}: {words}", trained | {"value": place}, *examined]

    choices = fields.controls_of([TRAIN, *EXAMINED])
    answer = [controls.refused, controls.brought, *choices]
    controls.bring.upload(keep, controls.bring, answer, api_name="bring_prompts", **QUICK)
    gr.on(None, offered, None, choices, api_name="prompt_sets", **QUICK)


def _sets(lab: Lab) -> list[str]:
    folder = lab.settings.own_prompts
    brought = [(folder / name).relative_to(lab.settings.folder).as_posix() for name in kept_files(folder)]
    return [*shipped_names(), *brought]


def _show_own(choice: str) -> list[Any]:
    is_own = choice == OWN_PROMPTS
    return [gr.update(visible=is_own), gr.update(visible=is_own)]


def _describe(text: str) -> str:
    try:
        return describe_prompts(text)
    except LabError as error:
        return str(error)
