"""A Hub of this machine's own: one repository, the files of a folder, answered as the Hugging Face Hub does."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "1" * 40
NAME = "owner/small"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER's on and for no second: a close that the other side takes for a broken line."""


class SmallHub:
    """What it serves and what it was asked. Its files may break off in the middle, and it may fall silent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, list[str]()
        self.breaks_off, self.silence = "", Event()
        self.is_over = Event()

    def listing(self) -> list[dict[str, Any]]:
        """The files of the repository as the Hub lists them."""
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": sha1(path.read_bytes()).hexdigest(),
            }
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]


@contextmanager
def small_hub(folder: Path, fetched_to: Path) -> Iterator[SmallHub]:
    """A Hub with the repository NAME, which the Hub's library asks meanwhile instead of the real one."""
    hub = SmallHub(folder)
    server = HubServer(hub)
    Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        ask_instead(patch, f"http://127.0.0.1:{server.server_port}", fetched_to)
        yield hub
    hub.is_over.set()
    server.shutdown()
    server.server_close()


def ask_instead(patch: pytest.MonkeyPatch, address: str, fetched_to: Path) -> None:
    """Has the Hub's library ask at an address, as HF_ENDPOINT would before it is imported, and keep what it fetches."""
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fetched_to))
    patch.setattr("huggingface_hub.constants.ENDPOINT", address)
    patch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    patch.setattr("huggingface_hub.hf_api.api.endpoint", address)


class HubServer(ThreadingHTTPServer):
    def __init__(self, hub: SmallHub) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.hub = hub


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> SmallHub:
        assert isinstance(self.server, HubServer)
        return self.server.hub

    def do_HEAD(self) -> None:
        self.answer(self.file(), is_sent=False)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(f"/api/models/{NAME}/tree/"):
            self.answer(json.dumps(self.hub.listing()).encode())
        elif path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": one["path"]} for one in self.hub.listing()]
            self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        else:
            self.hub.sent.append(self.name())
            self.answer(self.file())

    def name(self) -> str:
        return unquote(urlsplit(self.path).path).split("/resolve/")[1].partition("/")[2]

    def file(self) -> bytes | None:
        path = self.hub.folder / self.name()
        return path.read_bytes() if path.is_file() else None

    def answer(self, body: bytes | None, is_sent: bool = True) -> None:
        if self.hub.silence.is_set():
            self.hub.is_over.wait()
            return
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha1(body or b"").hexdigest()}"')
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if is_sent and self.hub.breaks_off and self.path.endswith(self.hub.breaks_off):
            self.break_off(body or b"")
        elif is_sent:
            self.wfile.write(body or b"")

    def break_off(self, body: bytes) -> None:
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass
