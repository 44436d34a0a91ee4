"""A visitor asks for what it lacks, as a page does."""

import json
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from project_tree import text_of

from app.ui.live import POLL_URL
from app.ui.train_feed import TOPICS
from benchmarks.step import OpenPages, PagesError
from benchmarks.visitors import PAUSE_SECONDS, READY, Connection, OpenPage

FIRST = {
    "token": "1",
    "topics": {
        "status": {},
        "alarms": {"run": 3, "newest": 6, "alarms": [1]},
        "previews": {"run": 3, "newest": None, "diary": 4, "samples": [], "warning": ""},
        "heldout": {"run": 3, "examination": 9, "step": 0, "samples": [1]},
        "diary": {"run": 3, "last": 4, "lines": [1]},
        "wall": {"run": 3, "step": 7, "groups": [{"samples": [{"url": "/pictures/a.png"}, {"url": "data:b"}]}]},
        "curves": {
            "runs": [
                {
                    "id": 3,
                    "reset": True,
                    "steps": {"step": [6, 7], "step_seconds": [5.0, 5.5]},
                    "evaluations": [{"step": 0, "id": 9}],
                }
            ]
        },
    },
}
LATER = {
    "token": "2",
    "topics": {
        "heldout": {"run": 3, "is_first": False},
        "curves": {"runs": [{"id": 3, "reset": False, "steps": {}, "evaluations": []}]},
    },
}


class _Line:
    """A lab that gives these answers, one after the other."""

    def __init__(self, answers):
        self.asked, self.loaded, self._answers = [], [], answers

    def ask(self, question):
        self.asked.append(json.loads(json.dumps(question)))
        return self._answers[len(self.asked) - 1]

    def load(self, path):
        self.loaded.append(path)


def test_a_page_loads_the_pictures_of_a_new_wall_that_did_not_come_with_it():
    line = _Line([FIRST, LATER])
    page = OpenPage(line)
    page.ask()
    page.ask()
    assert line.loaded == ["/pictures/a.png"]


def test_a_page_asks_for_what_came_since():
    line = _Line([FIRST, LATER, {"token": "2"}])
    page = OpenPage(line)
    for _ in range(3):
        page.ask()
    last = {"step": 7, "mark": 5.5, "examined": 0, "examination": 9}
    first, *others = line.asked
    assert first == {"token": None, "run": None, "topics": dict.fromkeys([*TOPICS, "curves"])}
    assert [one["token"] for one in others] == ["1", "2"]
    for one in others:
        assert one["topics"] == {
            "status": None,
            "alarms": {"run": 3, "newest": 6},
            "wall": {"run": 3, "step": None, "shown": 7},
            "previews": {"run": 3, "newest": None, "diary": 4},
            "curves": {"runs": None, "seen": {"3": last}},
            "heldout": {"run": 3, "examination": 9, "step": 0},
            "diary": {"run": 3, "last": 4},
        }


class _Lab(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((self.path, question, self.client_address))
        token, status = self.answer(question["token"])
        body = json.dumps({"token": token}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, token):
        return token + 1, 500 if token < 0 else 200

    def log_message(self, *words):
        pass


class _PatientLab(_Lab):
    """One that numbers its pages from 1 and answers them all."""

    def answer(self, token):
        return token or len(self.server.heard), 200


class _LabThatTiresOfTheSecondPage(_PatientLab):
    def answer(self, token):
        number, _ = super().answer(token)
        return number, 500 if token == 2 else 200


@contextmanager
def served(kind):
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as lab:
        lab.heard, lab.daemon_threads = [], True
        threading.Thread(target=lab.serve_forever, daemon=True).start()
        yield lab
        lab.shutdown()


def test_a_visitor_posts_where_pages_do_over_one_connection():
    with served(_Lab) as lab, closing(HTTPConnection("127.0.0.1", lab.server_port)) as connection:
        line = Connection(connection)
        assert [line.ask({"token": 1}), line.ask({"token": 2})] == [{"token": 2}, {"token": 3}]
        with pytest.raises(ConnectionError, match="answered 500"):
            line.ask({"token": -1})
    assert {path for path, _, _ in lab.heard} == {POLL_URL}
    assert len({address for _, _, address in lab.heard}) == 1


def test_a_page_rests_between_two_turns_as_the_real_one_does():
    script = text_of("app/ui/components/live.js")
    assert f"const LIVE_MS = {PAUSE_SECONDS * 1000:.0f};" in script


@pytest.mark.slow
def test_one_page_that_fails_ends_all_and_is_told():
    with served(_LabThatTiresOfTheSecondPage) as lab:
        command = [sys.executable, "-m", "benchmarks.visitors", f"http://127.0.0.1:{lab.server_port}", "3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, f"{READY}\n")
    assert "ConnectionError: The lab answered 500" in done.stderr


@pytest.mark.slow
def test_pages_that_did_not_stay_open_are_no_measurement():
    with served(_LabThatTiresOfTheSecondPage) as lab:
        pages = OpenPages(f"http://127.0.0.1:{lab.server_port}", 3)
        with pytest.raises(PagesError, match="ended by themselves with exit status 1"), pages.open() as process:
            process.wait(120)


@pytest.mark.slow
def test_pages_stay_open_until_they_are_shut():
    with served(_PatientLab) as lab:
        with OpenPages(f"http://127.0.0.1:{lab.server_port}", 3).open() as process:
            assert process.poll() is None
        assert process.returncode not in (None, 0)
    first_words = [question["token"] for _, question, _ in lab.heard[:3]]
    assert first_words == [None, None, None]
