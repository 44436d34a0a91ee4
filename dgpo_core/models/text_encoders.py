"""Where the text encoders of a pipeline are: always at hand, in main memory until needed, or gone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import device, nn

from dgpo_core.errors import ModelError


class TextEncoders:
    """The text encoders of a pipeline. place is model.text_encoders: keep, offload or drop."""

    def __init__(self, pipeline: Any, place: str) -> None:
        self._pipeline, self._place = pipeline, place
        self._names = [
            name
            for name, part in pipeline.components.items()
            if name.startswith("text_encoder") and isinstance(part, nn.Module)
        ]
        self._home: device = pipeline.vae.device
        self._are_gone = self._have_left = False

    @property
    def stay(self) -> bool:
        """Whether they are always at hand."""
        return self._place == "keep"

    def check_room(self, num_prompts: int, bound: int) -> None:
        """Raises ModelError where dropped encoders would be needed again for a prompt that is forgotten."""
        if self._place == "drop" and num_prompts > bound:
            raise ModelError(
                f"model.text_encoders is drop, but the run has {num_prompts} prompts and model.prompts_remembered is "
                f"{bound}. Raise the latter to {num_prompts}, or set model.text_encoders to offload."
            )

    def check_here(self) -> None:
        """Raises ModelError where they were dropped, and a saved pipeline would lack them."""
        if self._are_gone:
            raise ModelError(
                "The text encoders were dropped after the run's prompts were encoded, and a pipeline without them "
                "draws nothing. Set model.text_encoders to keep or offload, load the model again and save it then."
            )

    def leave(self) -> None:
        """Moves them to main memory, or drops them, as the settings say."""
        self._have_left = True
        if self._place == "drop":
            self._pipeline.register_modules(**dict.fromkeys(self._names))
            self._are_gone = True
        elif self._place == "offload":
            self._move_to(device("cpu"))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def at_hand(self, prompt: str) -> Iterator[None]:
        """Within this with, they can encode.

        Raises:
            ModelError: they were dropped.
        """
        if self._are_gone:
            raise ModelError(
                f"The prompt {prompt[:80]!r} is new, but the text encoders were dropped after the run's own prompts "
                "were encoded. Set model.text_encoders to offload to draw other prompts."
            )
        self._move_to(self._home)
        try:
            yield
        finally:
            if self._have_left:
                self._move_to(device("cpu"))

    def _move_to(self, place: device) -> None:
        for name in self._names:
            part = getattr(self._pipeline, name)
            if part.device != place:
                part.to(place)
