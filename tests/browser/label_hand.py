"""Hands on the Label page: the groups that tests open there, what they press, and what they see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from synthetic import HOSTILE, picture

from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsPosted, PostedGroup

PROMPTS = ("two blue squares", HOSTILE, "a red circle")
SIZE = 4
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
NO_GROUP = "No group waits for you."


def posted(prompts: Sequence[str], *, seed: int = 0, size: int = SIZE) -> GroupsPosted:
    """A group of small pictures for each prompt, of step 0; another seed draws others."""
    groups = [
        PostedGroup(index, prompt, tuple(picture(Random(1000 * seed + 10 * index + member)) for member in range(size)))
        for index, prompt in enumerate(prompts)
    ]
    return GroupsPosted(step=0, groups=tuple(groups))


def fill(writer: Writer, *groups: GroupsPosted) -> None:
    """A run that waits for people, with the groups given, or else one for each of PROMPTS."""
    run_id = writer.create_run(to_dict(RunConfig()), 10)
    for event in groups or (posted(PROMPTS),):
        writer.record(run_id, event)
    writer.flush()


def labels(lab: Any) -> list[tuple[int, str, dict[str, Any]]]:
    """What was said of the groups of step 0: group, way and body."""
    return [(row.group_index, row.kind, row.body) for row in lab.reader.labels_of_step(1, 0)]


def prompt_of(page: Any) -> Any:
    return page.locator(".lab-label-prompt")


def answer_of(page: Any) -> Any:
    return page.locator("#label .lab-label > .lab-answer")


def mark_of(page: Any, member: int) -> Any:
    return page.locator(f"[data-member='{member}'] .lab-label-mark")


def type_at_once(page: Any, *keys: str) -> None:
    """Keys of one moment, which a person's fingers cannot beat."""
    page.evaluate(
        """keys => { for (const key of keys)
             document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })); }""",
        list(keys),
    )


def soon(page: Any, is_so: Callable[[], object]) -> None:
    """Fails unless it is so within a few seconds."""
    for _ in range(100):
        if is_so():
            return
        page.wait_for_timeout(50)
    assert is_so()
