"""Pages that poll a lab once a second, as the real ones do, from a process of their own that imports little.

python -m benchmarks.visitors URL COUNT
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

READY = "every page has had its first answer"


class OpenPage:
    """A page as its lab sees it: it asks for what is new and remembers how far it has been told."""

    def __init__(self, client: httpx.Client, component: int, number: int) -> None:
        self._client, self._component, self._number = client, component, number
        self._token: str | None = None

    def ask(self) -> None:
        asked = {"token": self._token, "run": None, "topics": {"status": None, "wall": None, "curves": None}}
        body = {
            "data": asked,
            "component_id": self._component,
            "fn_name": "poll",
            "session_hash": f"page{self._number}",
        }
        answer = self._client.post("/gradio_api/component_server/", json=body)
        answer.raise_for_status()
        self._token = answer.json()["token"]

    def stay(self) -> None:
        while True:
            time.sleep(1)
            self.ask()


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
