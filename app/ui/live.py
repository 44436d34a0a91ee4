"""Live data: one polling loop per open page feeds all panels, and only what is new travels.

A panel is an empty `gr.HTML` that a module of `components/` fills in the browser. It names a topic;
the page asks for all topics in one call with each topic's cursor, and a topic answers what is new.

    page.live = live = Live(reader)                  # page: a LivePage; serving.py answers POLL_URL with its live
    live.topic("wall", lambda run, cursor: ...)      # plain JSON values out, None for "nothing new"
    panel = live.panel("wall.js", topic="wall", server_functions=[...], events=("state",), height=4)
    ...
    live.heartbeat()                                 # once per page: starts the loop

The module exports `mount({element, server, trigger, props, watch})` and calls
`subscribe(topic, {cursor: () => any, show: (update, page) => void})` of `live.js`. `cursor()` is what
the topic gets (validate it: it comes from a browser). Every call is bounded by the change token of the
store: while nothing was written, the answer is empty and no topic is asked. Pages that show the same share what
was worked out for the first of them, until the store changes.

The call goes to an address of the lab's own, because Gradio's for server functions costs several times as much as
an answer does, and training pays for it (`benchmarks/page_ticks.py`).

Text is set by `textContent` only (`dom.js` does), so a prompt is data whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import gradio as gr
import orjson

from app.store.reader import Reader
from app.store.rows import RunRow
from app.ui.shared_answers import SharedAnswers
from dgpo_core.errors import LabError

ASSETS_URL = "/lab"
POLL_URL = f"{ASSETS_URL}/poll"
BYTES_SHARED = 4 * 2**20
BYTES_BESIDE = 512  # what keeping an answer takes beside its text
CHOICES_SHARED = 32
NOTHING_NEW = b"null"
Topic = Callable[[RunRow | None, Any], Any]


class LivePage(gr.Blocks):
    """A page whose panels are fed by `live`."""

    live: Live


@dataclass(frozen=True, slots=True)
class _Runs:
    """The run that a page shows, and the one that is live."""

    shown: RunRow | None
    live: RunRow | None

    def ids(self) -> dict[str, int | None]:
        return {"run": self.shown.id if self.shown else None, "live": self.live.id if self.live else None}


class Live:
    """The topics of one page and the call that answers them."""

    def __init__(self, reader: Reader, trouble: Callable[[], str] = str) -> None:
        self.reader = reader
        self._trouble = trouble
        self._topics: dict[str, Topic] = {}
        self._unshared: set[str] = set()
        self._runs = SharedAnswers[_Runs](CHOICES_SHARED, size=lambda _: 1)
        self._answers = SharedAnswers[bytes](BYTES_SHARED, size=lambda answer: len(answer) + BYTES_BESIDE)

    @property
    def num_bytes_shared(self) -> int:
        """What the answers take that are kept for other pages; at most BYTES_SHARED."""
        return self._answers.kept

    def topic(self, name: str, answer: Topic, *, is_of_store: bool = True) -> None:
        """Answer a topic: answer(shown run or None, the panel's cursor) gives JSON values, or None for nothing new.

        is_of_store: run, cursor and what is stored decide the answer, so that pages may share it.
        """
        assert name not in self._topics, f"the topic {name} is answered twice"
        self._topics[name] = answer
        if not is_of_store:
            self._unshared.add(name)

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
        return self.panel("heartbeat.js", elem_id="heartbeat")

    def poll(self, request: dict[str, Any]) -> bytes:
        """What changed since the page's token, as JSON: {"token"} alone when nothing did, else the topics' answers.

        While the token stands only topics are asked that more than the store decides.

        While the lab is in trouble "error" says so beside them; alone, it says why the store cannot be read.
        """
        try:
            changes = self._changes(request)
        except LabError as error:
            return orjson.dumps({"error": str(error)})
        words = self._trouble()
        return orjson.dumps(changes | {"error": words} if words else changes)

    def _changes(self, request: dict[str, Any]) -> dict[str, Any]:
        token = str(self.reader.change_token())
        is_known = request.get("token") == token
        cursors = request.get("topics")
        open_to_news = self._unshared if is_known else self._topics.keys()
        asked = {name: cursors[name] for name in cursors if name in open_to_news} if isinstance(cursors, dict) else {}
        if is_known and not asked:
            return {"token": token}
        chosen = whole_number(request.get("run"))
        runs = self._runs.answer(token, chosen, partial(self._runs_for, chosen))
        answers = {name: self._answer(token, name, runs.shown, cursor) for name, cursor in asked.items()}
        news = {name: orjson.Fragment(answer) for name, answer in answers.items() if answer != NOTHING_NEW}
        return {"token": token} if is_known and not news else {"token": token, **runs.ids(), "topics": news}

    def _runs_for(self, chosen: int | None) -> _Runs:
        live = self.reader.live_run()
        return _Runs(shown_run(self.reader, live, chosen), live)

    def _answer(self, token: str, name: str, run: RunRow | None, cursor: Any) -> bytes:
        """A topic's answer as JSON, worked out once for all pages that show this run and have come as far."""

        def work() -> bytes:
            return orjson.dumps(self._topics[name](run, cursor))

        if name in self._unshared:
            return work()
        asked = blake2b(orjson.dumps(cursor), digest_size=16).digest()
        return self._answers.answer(token, (name, run.id if run else None, asked), work)


def shown_run(reader: Reader, live: RunRow | None, chosen: int | None) -> RunRow | None:
    """The run a page shows: the one it chose, else the live one, else the newest."""
    if chosen is not None and (run := reader.run(chosen)) is not None:
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
