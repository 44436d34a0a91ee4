"""Many questions to one server: some at once, the answers in order, and no more questions once it is silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from typing import TypeVar

from dgpo_core.errors import RewardError
from dgpo_core.rewards.server import ServerSilentError

Answer = TypeVar("Answer")


def answers_of(questions: Sequence[Callable[[], Answer]], *, at_once: int) -> list[Answer | ServerSilentError]:
    """What each question gives, in order; for those left out, the error that says why.

    A question that finds the server silent has been patient already, so whatever has not begun by then is not asked:
    a server that is gone costs the time of one question, not of all.

    Raises:
        RewardError: that of the first question in order that raises one; no more are begun after it either.
    """
    ended_by: list[ServerSilentError | RewardError] = []

    def asked(question: Callable[[], Answer]) -> Answer | ServerSilentError | RewardError:
        if ended_by:
            return ServerSilentError(f"not asked any more, since {ended_by[0]}")
        try:
            return question()
        except (ServerSilentError, RewardError) as error:
            ended_by.append(error)
            return error

    if not questions:
        return []
    with ThreadPool(min(at_once, len(questions))) as pool:  # daemons: one that hangs keeps no process alive
        found = pool.map(asked, questions, chunksize=1)
    answers: list[Answer | ServerSilentError] = []
    for one in found:
        if isinstance(one, RewardError):
            raise one
        answers.append(one)
    return answers
