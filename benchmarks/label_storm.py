"""Many people label at once, their connections break, and the lab is killed in the middle: is anything lost or doubled?

    python -m benchmarks.label_storm [--clients 20] [--groups 500] [--disconnects 0.05]

A real lab (python -m app) serves a store with open groups; every client judges every group over HTTP, as the page does.
Now and then a client closes its connection before the answer is there, and says the same again. When half of the
labels are answered for, the lab is killed with SIGKILL and started anew. At the end the store is compared with what the
clients said and were told.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event, Lock
from typing import Any
from uuid import uuid4

import httpx

from app.settings import Settings
from app.store.database import open_for_reading
from app.store.writer import Writer
from benchmarks.port import free_port
from benchmarks.record import keep
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsPosted, PostedGroup

SIZE = 4
SECONDS_TO_START = 180.0
SECONDS_BETWEEN_TRIES = 0.2
HURRY_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Statement:
    """What a label says: of which group, who, in which way, and what."""

    group_id: int
    rater: str
    kind: str
    body: dict[str, Any]


@dataclass(slots=True)
class Tally:
    """What all clients said and were answered for, and how often a call had no answer.

    num_cut are those that a client cut off itself, num_refused all others: the lab was killed, or was starting.
    """

    acknowledged: dict[str, Statement] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    num_cut: int = 0
    num_refused: int = 0
    lock: Lock = field(default_factory=Lock)


class ServedLab:
    """A lab in a process of its own, which can be killed and started again on the same port and store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [sys.executable, "-m", "app", "--folder", str(self.folder), "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/config", timeout=5).is_success:
                    return
            except httpx.TransportError:
                time.sleep(SECONDS_BETWEEN_TRIES)
        raise RuntimeError("the lab did not start in time")

    def kill(self) -> None:
        """SIGKILL: nothing is said, flushed or closed."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Client:
    """A person's page: it judges every group once, and says the same again until it is answered."""

    def __init__(self, url: str, number: int, tally: Tally, disconnects: float) -> None:
        self._number, self._tally, self._disconnects = number, tally, disconnects
        self._random = Random(number)
        self._component = -1
        self._http = httpx.Client(base_url=url)

    def label_all(self, num_groups: int) -> None:
        """Judges so many groups; while others have all that are left in hand, it waits."""
        with self._http:
            answer = self._told({"action": "next"})
            for _ in range(num_groups):
                while answer["group"] is None:
                    time.sleep(SECONDS_BETWEEN_TRIES)
                    answer = self._told({"action": "next"})
                answer = self._put(answer["group"]["id"])

    def _put(self, group_id: int) -> dict[str, Any]:
        order = self._random.sample(range(SIZE), SIZE)
        request = uuid4().hex
        said = Statement(group_id, self._rater, "ranking", {"tiers": [[one] for one in order]})
        wish = {"action": "put", "group": group_id, "kind": said.kind, "body": said.body}
        with self._tally.lock:
            self._tally.sent.add(request)
        started = time.perf_counter()
        answer = self._told(wish | {"seconds": 1.0, "request": request})
        with self._tally.lock:
            self._tally.acknowledged[request] = said
            self._tally.seconds.append(time.perf_counter() - started)
        return answer

    @property
    def _rater(self) -> str:
        return f"rater {self._number}"

    def _told(self, wish: dict[str, Any]) -> dict[str, Any]:
        """The lab's answer, asked for again until it comes; a label is known by its mark however often it is sent."""
        while True:
            is_cut = self._random.random() < self._disconnects
            try:
                answer = self._asked(wish, HURRY_SECONDS if is_cut else 60.0)
            except (httpx.HTTPError, ValueError) as error:
                self._count(is_cut=is_cut and isinstance(error, httpx.TimeoutException))
                time.sleep(0 if is_cut else SECONDS_BETWEEN_TRIES)
                continue
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer

    def _count(self, *, is_cut: bool) -> None:
        """Counts a call without an answer."""
        with self._tally.lock:
            self._tally.num_cut += is_cut
            self._tally.num_refused += not is_cut

    def _asked(self, wish: dict[str, Any], timeout: float) -> dict[str, Any]:
        """One call; a timeout closes its connection, whatever the lab was about to say."""
        if self._component < 0:
            self._component = _label_component(self._http)
        body = {
            "data": wish | {"rater": self._rater},
            "component_id": self._component,
            "fn_name": "label",
            "session_hash": f"client{self._number}",
        }
        answer = self._http.post("/gradio_api/component_server/", json=body, timeout=timeout)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _label_component(client: httpx.Client) -> int:
    components = client.get("/config", timeout=60).raise_for_status().json()["components"]
    return int(next(one["id"] for one in components if one["props"].get("elem_id") == "label"))


def storm(folder: Path, *, num_clients: int, num_groups: int, disconnects: float) -> dict[str, Any]:
    """Runs it in a new lab folder; what was sent, acknowledged, stored, lost, altered and doubled."""
    _fill(folder, num_groups)
    lab, tally, killed = ServedLab(folder), Tally(), Event()
    lab.start()
    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(num_clients) as people:
            clients = [Client(lab.url, number, tally, disconnects) for number in range(num_clients)]
            working = [people.submit(client.label_all, num_groups) for client in clients]
            while len(tally.acknowledged) < num_clients * num_groups / 2:
                time.sleep(0.02)
            lab.kill()
            killed.set()
            lab.start()
            for one in working:
                one.result()
    finally:
        lab.kill()
    return (
        _compared(folder, tally)
        | {"clients": num_clients, "groups": num_groups, "kills": int(killed.is_set())}
        | {
            "cut": tally.num_cut,
            "refused": tally.num_refused,
            "minutes": (time.perf_counter() - started) / 60,
            "answer_seconds": sorted(tally.seconds)[:: max(1, len(tally.seconds) // 200)],
        }
    )


def _fill(folder: Path, num_groups: int) -> None:
    with Writer(Settings(folder=folder).database) as writer:
        run_id = writer.create_run(to_dict(RunConfig(name="storm")), 1)
        groups = tuple(
            PostedGroup(index, f"group {index}", tuple(f"{index} {member}".encode() for member in range(SIZE)))
            for index in range(num_groups)
        )
        writer.record(run_id, GroupsPosted(step=0, groups=groups))


def _compared(folder: Path, tally: Tally) -> dict[str, int]:
    """The store against what the clients said and were told."""
    db = open_for_reading(Settings(folder=folder).database)
    rows = list(db.query("SELECT task_id, rater, kind, body, request FROM labels"))
    db.close()
    stored = {
        row["request"]: Statement(row["task_id"], row["rater"], row["kind"], json.loads(row["body"])) for row in rows
    }
    return judged(stored, tally) | {"stored": len(rows)}


def judged(stored: Mapping[str, Statement], tally: Tally) -> dict[str, int]:
    """How many labels were sent, answered for, lost, stored otherwise than said, doubled, and sent by nobody."""
    places = [(one.group_id, one.rater) for one in stored.values()]
    return {
        "sent": len(tally.sent),
        "acknowledged": len(tally.acknowledged),
        "lost": len(tally.acknowledged.keys() - stored.keys()),
        "altered": sum(stored.get(request, said) != said for request, said in tally.acknowledged.items()),
        "doubled": len(places) - len(set(places)),
        "of_nobody": len(stored.keys() - tally.sent),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--disconnects", type=float, default=0.05, help="share of calls that are cut off (0.05)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = storm(
            Path(place),
            num_clients=arguments.clients,
            num_groups=arguments.groups,
            disconnects=arguments.disconnects,
        )
    keep("label_storm", found)
    print({name: value for name, value in found.items() if name != "answer_seconds"})
