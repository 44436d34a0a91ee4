"""Pages that poll a lab once a second, as the real ones do, from a process of their own that imports little.

python -m benchmarks.visitors URL COUNT
"""

from __future__ import annotations

import sys
import threading
import time

import httpx

READY = "every page has had its first answer"


def visit(url: str, count: int) -> None:
    """Every page asks for what is new, remembers the token, and waits a second; for ever."""
    components = httpx.get(f"{url}/config").json()["components"]
    component = next(one["id"] for one in components if one["props"].get("elem_id") == "heartbeat")
    answered = threading.Barrier(count + 1)

    def one_page(number: int) -> None:
        token = None
        with httpx.Client(base_url=url, timeout=30) as client:
            while True:
                is_first = token is None
                asked = {"token": token, "run": None, "topics": {"status": None, "wall": None, "curves": None}}
                body = {"data": asked, "component_id": component, "fn_name": "poll", "session_hash": f"page{number}"}
                answer = client.post("/gradio_api/component_server/", json=body)
                answer.raise_for_status()
                token = answer.json()["token"]
                if is_first:
                    answered.wait()
                time.sleep(1)

    pages = [threading.Thread(target=one_page, args=(number,), daemon=True) for number in range(count)]
    for page in pages:
        page.start()
    answered.wait()
    print(READY, flush=True)
    for page in pages:
        page.join()


if __name__ == "__main__":
    visit(sys.argv[1], int(sys.argv[2]))
