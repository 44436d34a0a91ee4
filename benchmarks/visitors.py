"""Pages that poll a lab for what they lack, as the real ones do, from a process that does little else.

They load the pictures of the wall too, all of them, though a browser leaves out those far out of sight. They share
the machine with the lab they visit, so they ask through the standard library's plain connection: a client with more
comfort computes several times longer than the lab's own answer takes.

python -m benchmarks.visitors URL COUNT             each page in its own rhythm, for ever, or until one of them fails
python -m benchmarks.visitors URL COUNT --by-line   each page once for every line that comes in, answered by a line
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from http import HTTPStatus
from http.client import HTTPConnection
from threading import Event
from typing import Any, Protocol
from urllib.parse import urlsplit

POLL = "/lab/poll"
PAUSE_SECONDS = 1.0
"""LIVE_MS of app/ui/components/live.js."""
READY = "every page has had its first answer"
ANSWERED = "every page has been answered"
TOPICS = ("status", "alarms", "wall", "previews", "curves", "heldout", "diary")
"""What a page asks for that shows the Train tab."""


class Line(Protocol):
    """How a page reaches its lab."""

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the lab answers to a poll."""

    def load(self, path: str) -> None:
        """Fetches a picture."""


class Connection:
    """A connection to the lab that stays open."""

    def __init__(self, http: HTTPConnection) -> None:
        self._http = http

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self._http.request("POST", POLL, json.dumps(question), {"Content-Type": "application/json"})
        return json.loads(self._answer())

    def load(self, path: str) -> None:
        self._http.request("GET", path)
        self._answer()

    def _answer(self) -> bytes:
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != HTTPStatus.OK:
            raise ConnectionError(f"The lab answered {answer.status}: {body[:200]!r}")
        return body


class OpenPage:
    """A page as its lab sees it: it asks for what is new and remembers how far it has been told."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._token: str | None = None
        self._cursors: dict[str, Any] = dict.fromkeys(TOPICS)

    def ask(self) -> None:
        changes = self._line.ask({"token": self._token, "run": None, "topics": self._cursors})
        self._token = changes["token"]
        topics = changes.get("topics") or {}
        self._remember(topics)
        for group in (topics.get("wall") or {}).get("groups", ()):
            for sample in group["samples"]:
                if not sample["url"].startswith("data:"):
                    self._line.load(sample["url"])

    def _remember(self, topics: dict[str, Any]) -> None:
        """Keeps what the panels would: the step on the wall, the last of each curve, preview, examination and line."""
        if wall := topics.get("wall"):
            self._cursors["wall"] = {"run": wall["run"], "step": None, "shown": wall["step"]}
        if curves := topics.get("curves"):
            known = (self._cursors["curves"] or {}).get("seen", {})
            seen = {str(run["id"]): _last_of(run, known.get(str(run["id"]), {})) for run in curves["runs"]}
            self._cursors["curves"] = {"runs": None, "seen": seen}
        if previews := topics.get("previews"):
            self._cursors["previews"] = {name: previews[name] for name in ("run", "newest", "diary")}
        if alarms := topics.get("alarms"):
            self._cursors["alarms"] = {name: alarms[name] for name in ("run", "newest")}
        if "samples" in (heldout := topics.get("heldout", {})):
            self._cursors["heldout"] = {name: heldout[name] for name in ("run", "examination", "step")}
        if diary := topics.get("diary"):
            self._cursors["diary"] = {"run": diary["run"], "last": diary["last"]}

    def stay(self, is_over: Event) -> None:
        """Asks in the rhythm of a page until it is over."""
        while not is_over.wait(PAUSE_SECONDS):
            self.ask()


def _last_of(run: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The last step and examination of a run's curves, those known before where nothing came."""
    last = {"step": -1, "mark": None, "examined": None, "examination": None} | ({} if run["reset"] else known)
    if steps := run["steps"]:
        last |= {"step": steps["step"][-1], "mark": steps["step_seconds"][-1]}
    if examinations := run["evaluations"]:
        last |= {"examined": examinations[-1]["step"], "examination": examinations[-1]["id"]}
    return last


def visit(url: str, count: int, lines: Iterable[str] | None) -> None:
    """Opens that many pages and says so once each has had an answer; they then stay, or ask with every line."""
    lab = urlsplit(url).netloc
    pages = [OpenPage(Connection(HTTPConnection(lab, timeout=30))) for _ in range(count)]
    for page in pages:
        page.ask()
    print(READY, flush=True)
    if lines is None:
        _stay(pages)
    for _ in lines or ():
        for page in pages:
            page.ask()
        print(ANSWERED, flush=True)


def _stay(pages: list[OpenPage]) -> None:
    """Keeps the pages open; the first that fails ends all, so that there are never fewer than there should be."""
    is_over = Event()
    with ThreadPoolExecutor(len(pages)) as threads:
        staying = [threads.submit(page.stay, is_over) for page in pages]
        try:
            ended, _ = wait(staying, return_when=FIRST_EXCEPTION)
        finally:
            is_over.set()
    for one in ended:
        one.result()


if __name__ == "__main__":
    visit(sys.argv[1], int(sys.argv[2]), sys.stdin if "--by-line" in sys.argv else None)
