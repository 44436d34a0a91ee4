"""Encoded prompts, remembered up to a bound."""

from __future__ import annotations

from collections import OrderedDict

from dgpo_core.models.protocol import Conditioning


class PromptMemory:
    """The latest used prompts with their conditioning, in main memory: with T5 one takes about 3 MB."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._known: OrderedDict[str, Conditioning] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, prompt: str) -> Conditioning | None:
        """The prompt's conditioning, now the latest used; None where it is not remembered."""
        found = self._known.get(prompt)
        if found is not None:
            self._known.move_to_end(prompt)
        return found

    def put(self, prompt: str, conditioning: Conditioning) -> None:
        """Remembers a prompt, and forgets the one not used for longest where there are too many."""
        self._known[prompt] = conditioning
        if len(self._known) > self.bound:
            self._known.popitem(last=False)
