"""A reward on another machine: pictures as PNG and prompts in JSON out, one number per picture back.

POST reward.server   {"pictures": ["<PNG in base64>", ...], "prompts": ["...", ...], "metadata": [{...}, ...]}
answers              {"rewards": [0.5, null, ...], "details": ["...", ...]}      details may be left out
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Judgement, Picture, Trial, as_number
from dgpo_core.rewards.inquiry import answers_of
from dgpo_core.rewards.server import Server, ServerSilentError, png_text, server_of
from dgpo_core.rewards.supplies import Supplies

BATCH = 32


class RemoteReward:
    """Whatever the server says. While it cannot be reached or is busy, pictures are left out and counted.

    trials are what the server must be able to tell apart; none where nobody knows what it judges. start is the line
    that starts such a server, where there is one.
    """

    def __init__(
        self,
        supplies: Supplies,
        server: Server | None = None,
        *,
        name: str = "remote",
        trials: Callable[[], list[Trial]] = list,
        start: str = "",
    ) -> None:
        self.name, self.trials = name, trials
        if not supplies.server:
            advice = f" To start one, copy examples/reward_server.py into an environment of its own: {start}"
            raise RewardError(
                f"The reward {name} needs reward.server, the address of your server. Set it.{advice if start else ''}"
            )
        self._supplies = supplies
        self._server = server or server_of(supplies)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Every prompt is sent."""

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        batches = [slice(start, start + BATCH) for start in range(0, len(pictures), BATCH)]
        questions = [partial(self._asked, pictures[rows], prompts[rows]) for rows in batches]
        found = answers_of(questions, at_once=1)  # it gets many pictures at a time as it is
        return [
            judgement
            for rows, answer in zip(batches, found, strict=True)
            for judgement in (_left_out(answer, pictures[rows]) if isinstance(answer, ServerSilentError) else answer)
        ]

    def _asked(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[Judgement]:
        body = {
            "pictures": [png_text(picture) for picture in pictures],
            "prompts": list(prompts),
            "metadata": [dict(self._supplies.note(prompt)) for prompt in prompts],
        }
        answer = self._server.post("", body)
        rewards, details = answer.get("rewards"), answer.get("details") or [""] * len(pictures)
        if not isinstance(rewards, list) or len(rewards) != len(pictures) or not isinstance(details, list):
            raise RewardError(
                f"{self._server.address} answered {str(answer)[:120]!r} for {len(pictures)} pictures. It must answer "
                '{"rewards": [...]} with one number or null per picture, in order.'
            )
        return [
            Judgement(None if one is None else as_number(one, self._server.address), details=str(words)[:1000])
            for one, words in zip(rewards, [*details, *[""] * len(rewards)][: len(rewards)], strict=True)
        ]


def _left_out(why: ServerSilentError, pictures: Sequence[Picture]) -> list[Judgement]:
    return [Judgement(None, details=str(why))] * len(pictures)
