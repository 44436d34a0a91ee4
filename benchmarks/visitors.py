"""Pages that poll a lab once a second for what they lack, as the real ones do, from a process that imports little.

python -m benchmarks.visitors URL COUNT
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

READY = "every page has had its first answer"


class OpenPage:
    """A page as its lab sees it: it asks for what is new and remembers how far it has been told."""

    def __init__(self, client: httpx.Client, component: int, number: int) -> None:
        self._client, self._component, self._number = client, component, number
        self._token: str | None = None
        self._cursors: dict[str, Any] = {"status": None, "wall": None, "curves": None}

    def ask(self) -> None:
        asked = {"token": self._token, "run": None, "topics": self._cursors}
        body = {
            "data": asked,
            "component_id": self._component,
            "fn_name": "poll",
            "session_hash": f"page{self._number}",
        }
        answer = self._client.post("/gradio_api/component_server/", json=body)
        answer.raise_for_status()
        changes = answer.json()
        self._token = changes["token"]
        self._remember(changes.get("topics") or {})

    def _remember(self, topics: dict[str, Any]) -> None:
        """Keeps what wall.js and curves.js would: the step on the wall, and the last of each curve."""
        if wall := topics.get("wall"):
            self._cursors["wall"] = {"run": wall["run"], "step": None, "shown": wall["step"]}
        if curves := topics.get("curves"):
            known = (self._cursors["curves"] or {}).get("seen", {})
            seen = {str(run["id"]): _last_of(run, known.get(str(run["id"]), {})) for run in curves["runs"]}
            self._cursors["curves"] = {"runs": None, "seen": seen}

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


def visit(url: str, count: int) -> None:
    """Opens that many pages, says so once each has had an answer, and keeps them open for ever."""
    with httpx.Client(base_url=url, timeout=30) as client:
        components = client.get("/config").json()["components"]
        heartbeat = next(one["id"] for one in components if one["props"].get("elem_id") == "heartbeat")
        pages = [OpenPage(client, heartbeat, number) for number in range(count)]
        for page in pages:
            page.ask()
        print(READY, flush=True)
        with ThreadPoolExecutor(count) as threads:
            for staying in [threads.submit(page.stay) for page in pages]:
                staying.result()


if __name__ == "__main__":
    visit(sys.argv[1], int(sys.argv[2]))
