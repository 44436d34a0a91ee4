"""Which network a checkpoint belongs to, told from the network itself."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

NUMBERS = 64


def fingerprint(network: nn.Module) -> str:
    """A hash of names, shapes and some numbers of every weight: the same wherever the folder lies and whoever reads it.

    Not of all numbers, which would take as long as loading them; training changes the first ones too. Rounded to
    bfloat16, so that a run goes on where the weights are held in another precision.
    """
    if any(weight.is_meta for weight in network.parameters()):
        return "without numbers"
    digest = hashlib.sha256()
    for name, weight in network.named_parameters():
        some = weight.detach().flatten()[:NUMBERS].to(torch.bfloat16).float().cpu()
        digest.update(f"{name} {list(weight.shape)} {some.tolist()}".encode())
    return digest.hexdigest()[:16]
