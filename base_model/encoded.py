"""The corpus as the transformer sees it: latents in place of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from base_model.corpus import Corpus, draw_corpus, parsed
from dgpo_core.data.requests import Request
from dgpo_core.models.autoencoder import Autoencoder

NUM_PICTURES = 80_000
HABIT = 0.9
"""How often a thing whose colour nobody asked for has the habitual colour of its shape."""


@dataclass(frozen=True)
class EncodedCorpus:
    """Normalised latents (N, 8, 8, 8) float16, their requests, and the thing in each cell (N, 64) uint8, 0 for none."""

    latents: Tensor
    requests: list[Request]
    cells: Tensor


def encoded(corpus: Corpus, autoencoder: AutoencoderKL) -> EncodedCorpus:
    """The corpus, encoded where the autoencoder is; all of it comes back in main memory."""
    latents = Autoencoder(autoencoder).encode(list(corpus.pictures)).half().cpu()
    return EncodedCorpus(latents, corpus.requests, torch.from_numpy(corpus.cells).flatten(1))


def cached_encoded_corpus(
    folder: Path, autoencoder: AutoencoderKL, count: int = NUM_PICTURES, processes: int = 2
) -> EncodedCorpus:
    """Pictures with habits, drawn and encoded once and kept in the folder."""
    file = folder / f"encoded-{count}.pt"
    if not file.exists():
        made = encoded(draw_corpus(count, seed=2, habit=HABIT, processes=processes), autoencoder)
        kept = {"latents": made.latents, "cells": made.cells, "requests": [one.wording() for one in made.requests]}
        torch.save(kept, file)
        return made
    stored = torch.load(file, weights_only=True)
    return EncodedCorpus(stored["latents"], parsed(stored["requests"]), stored["cells"])
