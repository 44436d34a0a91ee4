"""The signal that a tab's part of the store has changed, and choices that outlive a restart."""

import gradio as gr
import pytest
from conftest import poll

from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.changes import changes_panel, digest, stored_choice
from app.ui.live import Live


@pytest.fixture
def reader(tmp_path):
    path = tmp_path / "lab.db"
    with Writer(path):
        reader = Reader(path)
        yield reader
        reader.close()


def asked(live, ask, seen):
    """The answer of the topic 'tab' to a page that asks for everything new."""
    return poll(live, {"token": None, "run": None, "topics": {"tab": {"ask": ask, "seen": seen}}})["topics"].get("tab")


def test_a_page_hears_of_a_change_once(reader):
    shown = ["first"]
    live = Live(reader)
    with gr.Blocks():
        changes_panel(live, topic="tab", fingerprint=lambda ask: (tuple(shown), ask), is_of_store=False)
    first = asked(live, None, None)
    assert first is not None
    assert asked(live, None, first) is None
    shown.append("second")
    second = asked(live, None, first)
    assert second not in (None, first)
    assert asked(live, None, second) is None
    assert asked(live, 7, second) not in (None, second)


def test_a_broken_cursor_is_answered_like_a_new_page(reader):
    live = Live(reader)
    with gr.Blocks():
        changes_panel(live, topic="tab", fingerprint=lambda ask: ask)
    answer = poll(live, {"token": None, "run": None, "topics": {"tab": "nonsense"}})
    assert answer["topics"] == {"tab": digest(None)}


def test_digests_differ_as_values_do_even_with_text_that_is_no_unicode():
    assert digest(("a", 1)) == digest(("a", 1))
    assert len({digest(value) for value in ("a", "b", ("a",), 1, 1.0, None, "\ud800")}) == 7


def test_a_choice_made_before_a_restart_is_taken_after_it():
    with gr.Blocks():
        assert stored_choice(label="Run").preprocess(3) == 3
