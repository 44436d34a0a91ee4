"""The Label page, at an address of its own: one group at a time, judged by keys or touch."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.lab import Lab
from app.store.rows import RunRow
from app.ui.label_effects import LabelEffects
from app.ui.label_requests import labelling
from app.ui.live import Live, whole_number

TITLE = "Label"


def label_page(lab: Lab, live: Live) -> None:
    """Draws the page inside its route. Open groups are looked for as the store changes."""

    def waiting(_: RunRow | None, cursor: Any) -> dict[str, Any]:
        """How many groups are open, and whether the one a person has in hand still is."""
        in_hand = whole_number(cursor.get("group")) if isinstance(cursor, dict) else None
        task = lab.reader.label_task(in_hand) if in_hand is not None else None
        return {
            "open": lab.reader.label_progress("").num_open,
            "group": in_hand,
            "is_open": bool(task and task.is_open),
        }

    live.topic("waiting", waiting)
    live.topic("label effects", LabelEffects(lab.reader).answer)
    gr.HTML(
        '<header class="lab-header"><h1>Label</h1><p>Your order of a group is its reward in the next update.</p>'
        "</header>",
        js_on_load=None,
    )
    live.heartbeat()
    live.panel("label.js", server_functions=[labelling(lab)], elem_id="label")
    live.panel("label_effects.js", elem_id="label-effects")
