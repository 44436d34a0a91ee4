"""Answers that pages have in common: worked out once, gone with the state of the store, never too many."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from app.ui.shared_answers import SharedAnswers


@pytest.fixture
def answers():
    return SharedAnswers[str](limit=10, size=len)


def refuse() -> str:
    raise AssertionError("this was answered before")


def test_a_question_is_worked_out_once_under_a_token(answers):
    assert answers.answer("1", "wall", lambda: "a") == "a"
    assert answers.answer("1", "wall", refuse) == "a"
    assert answers.answer("1", "curves", lambda: "b") == "b"
    assert answers.answer("2", "wall", lambda: "c") == "c"
    assert answers.kept == 1


def test_what_does_not_fit_is_answered_and_not_kept(answers):
    assert answers.answer("1", "a", lambda: "x" * 8) == "x" * 8
    assert answers.answer("1", "b", lambda: "yyy") == "yyy"
    assert answers.kept == 8
    assert answers.answer("1", "b", lambda: "zz") == "zz"
    assert answers.answer("1", "a", refuse) == "x" * 8
    assert answers.kept == 10


def test_a_failure_is_not_kept(answers):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            answers.answer("1", "a", lambda: str(1 // 0))
    assert answers.answer("1", "a", lambda: "x") == "x"
    assert answers.answer("1", "a", refuse) == "x"


def test_pages_that_ask_at_once_wait_for_the_first_and_others_do_not(answers):
    together, may_end, asked = Barrier(5), Event(), []

    def slow():
        asked.append("slow")
        may_end.wait(10)
        return "slow"

    def page():
        together.wait(10)
        return answers.answer("1", "a", slow)

    with ThreadPoolExecutor(5) as threads:
        pages = [threads.submit(page) for _ in range(4)]
        together.wait(10)
        assert answers.answer("1", "b", lambda: "b") == "b"
        may_end.set()
        assert [one.result(10) for one in pages] == ["slow"] * 4
    assert asked == ["slow"]


def test_an_answer_that_comes_after_the_store_has_changed_is_not_kept(answers):
    def late():
        assert answers.answer("2", "a", lambda: "new") == "new"
        return "of before"

    assert answers.answer("1", "a", late) == "of before"
    assert answers.answer("2", "a", refuse) == "new"
    assert answers.kept == 3
