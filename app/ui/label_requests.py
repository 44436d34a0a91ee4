"""What the Label page asks for: the next group, a label, its undoing. Everything from a browser is checked here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.lab import Lab
from app.store.rows import Said
from app.ui.live import whole_number
from app.ui.serving import picture_url
from dgpo_core.errors import LabelError, LabError

LONGEST_REQUEST = 80
LONGEST_LABEL_SECONDS = 3600.0


def labelling(lab: Lab) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The page's one call: {"action", "rater", ...} to what is to be judged next, or {"error"} in words."""

    def label(wish: dict[str, Any]) -> dict[str, Any]:
        try:
            return _answer(lab, wish if isinstance(wish, dict) else {})
        except LabError as error:
            return {"error": str(error)}

    return label


def _answer(lab: Lab, wish: dict[str, Any]) -> dict[str, Any]:
    rater, action = str(wish.get("rater", "")), wish.get("action")
    if action == "put":
        lab.actions.put_label(_said(wish, rater))
    elif action == "undo":
        if (taken := lab.actions.take_back(rater, _request(wish))) is None:
            raise LabelError("There is nothing to take back: no group of yours is still open.")
        return _group(lab, rater, taken)
    elif action != "next":
        raise LabelError(f"The page asked for {str(action)[:40]!r}, which the lab does not know. Reload the page.")
    return _group(lab, rater, lab.actions.lease_next(rater))


def _group(lab: Lab, rater: str, task_id: int | None) -> dict[str, Any]:
    """The group to judge, or None where none is open, and how far this person is."""
    task = lab.reader.label_task(task_id) if task_id is not None else None
    progress = lab.reader.label_progress(rater)
    return {
        "group": None
        if task is None
        else {
            "id": task.id,
            "title": f"step {task.step}, group {task.group_index + 1}",
            "prompt": task.prompt,
            "pictures": [picture_url(sha) for sha in task.shas],
        },
        "progress": {
            "open": progress.num_open,
            "labelled": progress.num_labelled,
            "mine": progress.num_mine,
            "seconds": progress.seconds_per_label,
        },
    }


def _said(wish: dict[str, Any], rater: str) -> Said:
    task_id, body = whole_number(wish.get("group")), wish.get("body")
    seconds: Any = wish.get("seconds")
    if task_id is None or not isinstance(body, dict):
        raise LabelError("The page sent a label without its group. Reload the page.")
    taken = min(max(float(seconds), 0.0), LONGEST_LABEL_SECONDS) if type(seconds) in (int, float) else 0.0
    kind = str(wish.get("kind", ""))
    return Said(task_id=task_id, rater=rater, kind=kind, body=body, seconds=taken, request=_request(wish))


def _request(wish: dict[str, Any]) -> str:
    request = wish.get("request")
    if not isinstance(request, str) or not 8 <= len(request) <= LONGEST_REQUEST:
        raise LabelError("The page sent a label without its own mark. Reload the page.")
    return request
