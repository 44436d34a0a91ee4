"""A visitor asks for what it lacks, as a page does."""

import json

import httpx

from app.ui.live import POLL_URL
from app.ui.train_feed import TOPICS
from benchmarks.visitors import OpenPage

FIRST = {
    "token": "1",
    "topics": {
        "status": {},
        "previews": {"run": 3, "newest": None, "diary": 4, "samples": [], "warning": ""},
        "heldout": {"run": 3, "examination": 9, "step": 0, "samples": [1]},
        "diary": {"run": 3, "last": 4, "lines": [1]},
        "wall": {"run": 3, "step": 7, "groups": [1]},
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


def test_a_page_asks_for_what_came_since():
    asked, answers = [], [FIRST, LATER, {"token": "2"}]

    def answer(request):
        asked.append((str(request.url), json.loads(request.content)))
        return httpx.Response(200, json=answers[len(asked) - 1])

    with httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer)) as client:
        page = OpenPage(client)
        for _ in answers:
            page.ask()
    last = {"step": 7, "mark": 5.5, "examined": 0, "examination": 9}
    assert {url for url, _ in asked} == {f"http://127.0.0.1{POLL_URL}"}
    first, *others = [body for _, body in asked]
    assert first == {"token": None, "run": None, "topics": dict.fromkeys([*TOPICS, "curves"])}
    assert [one["token"] for one in others] == ["1", "2"]
    for one in others:
        assert one["topics"] == {
            "status": None,
            "wall": {"run": 3, "step": None, "shown": 7},
            "previews": {"run": 3, "newest": None, "diary": 4},
            "curves": {"runs": None, "seen": {"3": last}},
            "heldout": {"run": 3, "examination": 9, "step": 0},
            "diary": {"run": 3, "last": 4},
        }
