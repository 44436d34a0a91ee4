"""A visitor asks for what it lacks, as a page does."""

import json

import httpx

from benchmarks.visitors import OpenPage

FIRST = {
    "token": "1",
    "topics": {
        "status": {},
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
LATER = {"token": "2", "topics": {"curves": {"runs": [{"id": 3, "reset": False, "steps": {}, "evaluations": []}]}}}


def test_a_page_asks_for_what_came_since():
    asked, answers = [], [FIRST, LATER, {"token": "2"}]

    def answer(request):
        asked.append(json.loads(request.content)["data"])
        return httpx.Response(200, json=answers[len(asked) - 1])

    with httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer)) as client:
        page = OpenPage(client, component=1, number=0)
        for _ in answers:
            page.ask()
    last = {"step": 7, "mark": 5.5, "examined": 0, "examination": 9}
    assert asked[0] == {"token": None, "run": None, "topics": {"status": None, "wall": None, "curves": None}}
    assert [one["token"] for one in asked[1:]] == ["1", "2"]
    for one in asked[1:]:
        assert one["topics"]["wall"] == {"run": 3, "step": None, "shown": 7}
        assert one["topics"]["curves"] == {"runs": None, "seen": {"3": last}}
