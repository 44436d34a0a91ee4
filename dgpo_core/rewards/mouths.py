"""Where a vision-language model speaks: behind an OpenAI-compatible server, or in this process through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from math import exp
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.inquiry import answers_of
from dgpo_core.rewards.picture_processor import picture_processor
from dgpo_core.rewards.pretrained import loading
from dgpo_core.rewards.server import NUM_AT_ONCE, Server, ServerSilentError, png_text, server_of
from dgpo_core.rewards.supplies import Supplies
from dgpo_core.rewards.vision_language import Mouth, Question, Said

NUM_PROBABILITIES = 20
"""The most that the OpenAI interface gives."""


def mouth_of(name: str, supplies: Supplies) -> Mouth:
    """The server of the settings, or a model in this process where none is set."""
    model = supplies.server_model or REWARD_FACTS[name].weights
    if supplies.server:
        return ServerMouth(server_of(supplies), model)
    return LocalMouth(name, supplies.place(model), supplies)


class ServerMouth:
    """A model behind /chat/completions; the address ends where that begins, in /v1 with most servers."""

    def __init__(self, server: Server, model: str) -> None:
        self._server, self._model = server, model

    def answers(self, questions: Sequence[Question], *, num_tokens: int) -> list[Said | str]:
        """Asked several at once; none any more once the server is silent."""
        asked = [partial(self.ask, one.picture, one.words, num_tokens=num_tokens) for one in questions]
        said = answers_of(asked, at_once=NUM_AT_ONCE)
        return [str(one) if isinstance(one, ServerSilentError) else one for one in said]

    def ask(self, picture: Picture, question: str, *, num_tokens: int) -> Said:
        """One answer.

        Raises:
            ServerSilentError: it cannot be reached or stays busy.
            RewardError: it refuses, or its answer is no chat completion.
        """
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png_text(picture)}"}},
            {"type": "text", "text": question},
        ]
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": num_tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": NUM_PROBABILITIES,
        }
        answer = self._server.post("/chat/completions", body)
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            ranked = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
            first: dict[str, float] = {}
            for one in ranked:
                first[str(one["token"])] = first.get(str(one["token"]), 0.0) + exp(min(0.0, float(one["logprob"])))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise RewardError(
                f"{self._server.address} answered {str(answer)[:120]!r}, which is no chat completion. Point "
                "reward.server at an OpenAI-compatible address, which mostly ends in /v1."
            ) from error
        if not isinstance(text, str):
            raise RewardError(f"{self._server.address} gave an answer without text: {str(choice)[:120]!r}. Check it.")
        return Said(text, first)


class LocalMouth:
    """A model that transformers loads, on the device of the run."""

    def __init__(self, name: str, place: str, supplies: Supplies) -> None:
        self._name, self._place, self._supplies = name, place, supplies

    def answers(self, questions: Sequence[Question], *, num_tokens: int) -> list[Said | str]:
        """One after the other: they share the device."""
        return [self.ask(one.picture, one.words, num_tokens=num_tokens) for one in questions]

    @torch.no_grad()
    def ask(self, picture: Picture, question: str, *, num_tokens: int) -> Said:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        words = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = self._processor(text=[words], images=[Image.fromarray(picture)], return_tensors="pt")
        inputs = inputs.to(self._supplies.device)
        scores = _FirstScores()
        told = self._model.generate(**inputs, max_new_tokens=num_tokens, do_sample=False, logits_processor=[scores])
        new = told[0, inputs["input_ids"].shape[1] :]
        decode = self._processor.tokenizer.decode
        chances, tokens = scores.first.softmax(dim=-1).topk(min(NUM_PROBABILITIES, len(scores.first)))
        first: dict[str, float] = {}
        for chance, token in zip(chances.tolist(), tokens.tolist(), strict=True):
            word = decode([token])
            first[word] = first.get(word, 0.0) + chance
        return Said(decode(new, skip_special_tokens=True), first)

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForImageTextToText

        with loading(self._name, self._place):
            return self._supplies.pretrained(AutoModelForImageTextToText, self._place, dtype="auto")

    @cached_property
    def _processor(self) -> Any:
        with loading(self._name, self._place):
            return picture_processor(self._place)


class _FirstScores:
    """Keeps the scores of the first word that is said, and changes none: those of all words of a long answer would
    take hundreds of megabytes."""

    first: Tensor

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        if not hasattr(self, "first"):
            self.first = scores[0].float()
        return scores
