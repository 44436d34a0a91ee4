"""Every wording of every request as tokens in one table, so that a batch is told by looking up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from dgpo_core.data.requests import CATEGORIES, ENDINGS, OPENINGS, Request, all_requests

PLAIN_SHARE = 0.5
"""How often a request is worded without opening and ending; else both are drawn at random."""
CAPTION_DROPOUT = 0.1


class Wordings:
    """Tokens of requests; a request is known by its row in the table."""

    def __init__(self, tokenizer: CLIPTokenizer, device: str | torch.device = "cpu") -> None:
        requests = [request for category in CATEGORIES for request in all_requests(category)]
        texts = [one.wording(opening, ending) for one in requests for opening in OPENINGS for ending in ENDINGS]
        tokens = torch.tensor(tokenizer([*texts, ""], padding="max_length", truncation=True).input_ids, device=device)
        self._table = tokens[:-1].unflatten(0, (len(requests), -1))
        self.empty = tokens[-1]
        """The empty caption (L,)."""
        self._row = {request: index for index, request in enumerate(requests)}

    def rows(self, requests: Sequence[Request]) -> Tensor:
        """The row of each request (N,)."""
        return torch.tensor([self._row[request] for request in requests], device=self._table.device)

    def told(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Captions (..., B, L) of requests by their rows (..., B), half of them plain.

        One in ten is empty, and then in every row of captions that is told together.
        """
        device, count = self._table.device, rows.shape[-1]
        wording = torch.randint(self._table.shape[1], rows.shape, generator=generator, device=device)
        is_plain = torch.rand(rows.shape, generator=generator, device=device) < PLAIN_SHARE
        tokens = self._table[rows, wording.masked_fill(is_plain, 0)]
        is_empty = torch.rand(count, generator=generator, device=device) < CAPTION_DROPOUT
        return torch.where(is_empty[:, None], self.empty, tokens)
