"""What keeps a tab in step with the store: a signal when something changed, and choices that outlive a restart.

    changes = changes_panel(live, topic="runs", fingerprint=lambda chosen: (reader.runs(), chosen))
    changes.stale(refresh, inputs, outputs)

The panel draws nothing. Its topic gets the panel's value and the fingerprint the browser has seen; a new
fingerprint fires `stale`, so a handler runs only when there is something new and only while the tab's page is visible.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import gradio as gr

from app.ui.live import Live

# How a tab's handlers run: cheap, so without queue, spinner or limit.
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "concurrency_limit": None}


def changes_panel(
    live: Live, *, topic: str, fingerprint: Callable[[Any], Any], value: Any = None, is_of_store: bool = True
) -> gr.HTML:
    """A silent panel with the event `stale`; fingerprint(value of the panel) gives whatever the tab shows.

    is_of_store: what is stored decides the fingerprint, so that pages may share it.
    """

    def answer(_: Any, cursor: Any) -> str | None:
        wanted = cursor if isinstance(cursor, dict) else {}
        now = digest(fingerprint(wanted.get("ask")))
        return None if now == wanted.get("seen") else now

    live.topic(topic, answer, is_of_store=is_of_store)
    return live.panel("changes.js", value=value, topic=topic, events=("stale",))


def stored_choice(**options: Any) -> gr.Dropdown:
    """A dropdown whose choices are filled from the store, and whose handlers check what they get.

    Gradio would check it against the choices it remembers for the session; a restarted lab remembers none, and
    every page left open would get an error for every choice.
    """
    return gr.Dropdown([], allow_custom_value=True, **options)


def digest(value: Any) -> str:
    """A short text that differs when the value's repr does."""
    return blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
