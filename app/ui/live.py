"""Live data: one polling loop per open page feeds all panels, and only what is new travels.

A panel is an empty `gr.HTML` that a module of `components/` fills in the browser. It names a topic;
the page asks for all topics in one call with each topic's cursor, and a topic answers what is new.

    live = Live(reader)
    live.topic("wall", lambda run, cursor: ...)      # plain JSON values out, None for "nothing new"
    panel = live.panel("wall.js", topic="wall", server_functions=[...], events=("state",), height=4)
    ...
    live.heartbeat()                                 # once per page: starts the loop

The module exports `mount({element, server, trigger, props, watch})` and calls
`subscribe(topic, {cursor: () => any, show: (update, page) => void})` of `live.js`. `cursor()` is what
the topic gets (validate it: it comes from a browser). Every call is bounded by the change token of the
store: while nothing was written, the answer is empty and no topic is asked.

Text is set by `textContent` only (`dom.js` does), so a prompt is data whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from app.store.reader import Reader
from app.store.rows import RunRow
from dgpo_core.errors import LabError

ASSETS_URL = "/lab"
Topic = Callable[[RunRow | None, Any], Any]


class Live:
    """The topics of one page and the call that answers them."""

    def __init__(self, reader: Reader, trouble: Callable[[], str] = str) -> None:
        self.reader = reader
        self._trouble = trouble
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str, answer: Topic) -> None:
        """Answer a topic: answer(shown run or None, the panel's cursor) gives JSON values, or None for nothing new."""
        assert name not in self._topics, f"the topic {name} is answered twice"
        self._topics[name] = answer

    def panel(
        self,
        script: str,
        *,
        server_functions: Sequence[Callable[..., Any]] = (),
        events: Sequence[str] = (),
        **options: Any,
    ) -> gr.HTML:
        """An empty panel filled by a module of components/; events are the names it may trigger on this component.

        Further options go to gr.HTML; those it does not know reach the module as props.
        """
        return gr.HTML(
            html_template='<div class="lab-panel"></div>',
            js_on_load=_mounting(script, events),
            server_functions=list(server_functions),
            apply_default_css=False,
            **options,
        )

    def heartbeat(self) -> gr.HTML:
        """The line that runs the page's loop and speaks up when the lab does not answer."""

        def poll(request: dict[str, Any]) -> dict[str, Any]:  # Gradio marks the function, which a method does not allow
            return self.poll(request)

        return self.panel("heartbeat.js", server_functions=[poll], elem_id="heartbeat")

    def poll(self, request: dict[str, Any]) -> dict[str, Any]:
        """What changed since the page's token: {"token"} alone when nothing did, else the topics' answers.

        While the lab is in trouble "error" says so beside them; alone, it says why the store cannot be read.
        """
        try:
            changes = self._changes(request)
        except LabError as error:
            return {"error": str(error)}
        words = self._trouble()
        return changes | {"error": words} if words else changes

    def _changes(self, request: dict[str, Any]) -> dict[str, Any]:
        token = str(self.reader.change_token())
        if request.get("token") == token:
            return {"token": token}
        live = self.reader.live_run()
        run = shown_run(self.reader, live, request.get("run"))
        cursors = request.get("topics") or {}
        answers = {name: self._topics[name](run, cursor) for name, cursor in cursors.items() if name in self._topics}
        return {
            "token": token,
            "run": run.id if run else None,
            "live": live.id if live else None,
            "topics": {name: answer for name, answer in answers.items() if answer is not None},
        }


def shown_run(reader: Reader, live: RunRow | None, chosen: Any) -> RunRow | None:
    """The run a page shows: the one it chose, else the live one, else the newest."""
    if (run_id := whole_number(chosen)) is not None and (run := reader.run(run_id)) is not None:
        return run
    return live or next(iter(reader.runs()), None)


def whole_number(value: Any) -> int | None:
    """A whole number that came from a browser, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _mounting(script: str, events: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in events)
    return (
        f"const events = [{names}];\n"
        f'import("{ASSETS_URL}/{script}").then((panel) =>\n'
        "  panel.mount({ element: element.firstElementChild, server, trigger, props, watch, events }));"
    )
