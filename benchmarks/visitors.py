"""Pages that poll a lab once a second for what they lack, as the real ones do, from a process that imports little.

python -m benchmarks.visitors URL COUNT             each page in its own rhythm, for ever
python -m benchmarks.visitors URL COUNT --by-line   each page once for every line that comes in, answered by a line
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

POLL = "/lab/poll"
READY = "every page has had its first answer"
ANSWERED = "every page has been answered"
TOPICS = ("status", "wall", "previews", "curves", "heldout", "diary")
"""What a page asks for that shows the Train tab."""


class OpenPage:
    """A page as its lab sees it: it asks for what is new and remembers how far it has been told."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._token: str | None = None
        self._cursors: dict[str, Any] = dict.fromkeys(TOPICS)

    def ask(self) -> None:
        answer = self._client.post(POLL, json={"token": self._token, "run": None, "topics": self._cursors})
        answer.raise_for_status()
        changes = answer.json()
        self._token = changes["token"]
        self._remember(changes.get("topics") or {})

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
        if "samples" in (heldout := topics.get("heldout", {})):
            self._cursors["heldout"] = {name: heldout[name] for name in ("run", "examination", "step")}
        if diary := topics.get("diary"):
            self._cursors["diary"] = {"run": diary["run"], "last": diary["last"]}

    def stay(self) -> None:
        while True:
            time.sleep(1)
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
    with httpx.Client(base_url=url, timeout=30) as client:
        pages = [OpenPage(client) for _ in range(count)]
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
    with ThreadPoolExecutor(len(pages)) as threads:
        for staying in [threads.submit(page.stay) for page in pages]:
            staying.result()


if __name__ == "__main__":
    visit(sys.argv[1], int(sys.argv[2]), sys.stdin if "--by-line" in sys.argv else None)
