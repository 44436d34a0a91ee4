"""What the Label page asks for: the next group, a label, its undoing. Everything from a browser is checked here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.lab import Lab
from app.store.rows import LabelTaskRow, RunState, Said
from app.ui.live import whole_number
from app.ui.serving import picture_urls
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
    if action in ("back", "forward"):
        return _neighbour(lab, rater, whole_number(wish.get("group")), is_later=action == "forward")
    if action == "soon":
        return _soon(lab, rater, whole_number(wish.get("group")))
    if action == "put":
        lab.actions.put_label(_said(wish, rater))
    elif action == "undo":
        if (taken := lab.actions.take_back(rater, _request(wish))) is None:
            raise LabelError("There is nothing to take back: no group of yours is still open.")
        return _group(lab, rater, taken)
    elif action != "next":
        raise LabelError(f"The page asked for {str(action)[:40]!r}, which the lab does not know. Reload the page.")
    return _group(lab, rater, lab.actions.lease_next(rater))


def _neighbour(lab: Lab, rater: str, task_id: int | None, *, is_later: bool) -> dict[str, Any]:
    """A group that this person labelled; forward from the last one, the group that is to be judged next."""
    beside = lab.reader.labelled_beside(rater, task_id, is_later=is_later)
    if beside is None and not is_later:
        raise LabelError("There is no earlier group of yours. Right goes forward again.")
    return _group(lab, rater, lab.actions.lease_next(rater) if beside is None else beside)


def _soon(lab: Lab, rater: str, task_id: int | None) -> dict[str, Any]:
    """The pictures that will most likely be shown after a group, so that the browser can fetch them meanwhile."""
    after = lab.reader.label_after(rater, task_id) if task_id is not None else None
    task = lab.reader.label_task(after) if after is not None else None
    return {"pictures": _pictures(lab, task) if task is not None else []}


def _pictures(lab: Lab, task: LabelTaskRow) -> list[str]:
    urls = picture_urls(lab.reader, task.shas)
    return [urls[sha] for sha in task.shas]


def _group(lab: Lab, rater: str, task_id: int | None) -> dict[str, Any]:
    """The group to judge, or None where none is open, and how far this person is."""
    task = lab.reader.label_task(task_id) if task_id is not None else None
    said = lab.reader.label_of(task.id, rater) if task is not None else None
    progress = lab.reader.label_progress(rater)
    return {
        "group": None
        if task is None
        else {
            "id": task.id,
            "title": f"{task.run_name}, step {task.step}",  # a group's number would tell which is asked again
            "note": _note(task, is_labelled=said is not None),
            "is_open": task.is_open,
            "prompt": task.prompt,
            "pictures": _pictures(lab, task),
            "said": {"kind": said.kind, "body": said.body} if said is not None else None,
        },
        "progress": {
            "open": progress.num_open,
            "labelled": progress.num_labelled,
            "mine": progress.num_mine,
            "seconds": progress.seconds_per_label,
        },
    }


def _note(task: LabelTaskRow, *, is_labelled: bool) -> str:
    """What a person should know of a group before they judge it; mostly nothing."""
    if not task.is_open:
        return "Training has gone on with what was said of this group. It can be looked at, not changed."
    if is_labelled:
        return "You labelled this group. What you send now takes the place of that."
    if not task.run_state.is_live and task.run_state is not RunState.FINISHED:
        return f"This run is {task.run_state.value}; what you say counts when it goes on."
    return ""


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
