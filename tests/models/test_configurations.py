"""What a model of the Hub takes is known from its configurations alone. The Hub is a server of this file's own."""

import json
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
import torch
from small_families import save_small_family

from dgpo_core.config import from_dict
from dgpo_core.models.memory import memory_of
from dgpo_core.models.source import configurations_fetched, fetched_before

COMMIT = "1" * 40
NAME = "owner/small"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return save_small_family("sd", tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture
def hub(repository, tmp_path, monkeypatch):
    """(address, names of the files that were sent) of a Hub with one repository; what is fetched goes to tmp_path."""
    sent = []

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(self.file(), is_sent=False)

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path.startswith(f"/api/models/{NAME}/tree/"):
                self.answer(json.dumps(listing(repository)).encode())
            elif path.startswith(f"/api/models/{NAME}"):
                siblings = [{"rfilename": one["path"]} for one in listing(repository)]
                self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
            else:
                sent.append(path.rpartition(f"/{COMMIT}/")[2] if COMMIT in path else path.rpartition("/main/")[2])
                self.answer(self.file())

        def file(self):
            name = unquote(urlsplit(self.path).path).split("/resolve/")[1].partition("/")[2]
            return (repository / name).read_bytes() if (repository / name).is_file() else None

        def answer(self, body, is_sent=True):
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha1(body or b"").hexdigest()}"')
            if body is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if is_sent:
                self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "fetched"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()


def listing(folder):
    """The files of a repository as the Hub lists them."""
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": sha1(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def test_memory_is_reckoned_from_configurations_alone_and_is_that_of_the_whole_model(hub, repository):
    address, sent = hub
    here = configurations_fetched(NAME, endpoint=address)
    assert "model_index.json" in sent
    assert {name.rpartition(".")[2] for name in sent} == {"json"}
    assert not [path for path in here.rglob("*") if path.is_file() and path.suffix != ".json"]
    config = from_dict({"model": {"lora_rank": 2}})
    assert memory_of(config, here, torch.float32) == memory_of(config, repository, torch.float32)
    assert fetched_before(NAME) == here
