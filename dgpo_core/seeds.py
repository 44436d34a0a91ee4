"""Seeds from names. Every draw of the product has its own, so order never decides a result."""

from __future__ import annotations

from hashlib import blake2b
from operator import index

import torch

MAX_SEED = 2**63 - 1


def seed_of(*parts: int | str) -> int:
    """A number from 0 to MAX_SEED that depends on the parts and nothing else: not process, platform or version."""
    # Kind and length go in too, so that (1, 23), (12, 3) and ("1", "23") differ.
    words = [("s", part) if isinstance(part, str) else ("i", str(index(part))) for part in parts]
    text = "".join(f"{kind}{len(word)}:{word}" for kind, word in words)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(
    run_seed: int, purpose: str, *parts: int | str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator for one draw of a run, such as ("noise", step, group, member).

    The same arguments give the same draw on the same kind of device. Torch's CPU generator uses the low
    32 bits of its seed only, so two of n draws coincide with a probability of about n * n / 2**33.
    """
    return torch.Generator(device).manual_seed(seed_of(run_seed, purpose, *parts))
