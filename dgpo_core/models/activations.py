"""What a forward keeps for its gradient, and what one without holds meanwhile, counted on forwards without numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dgpo_core.models.autoencoder import Autoencoder
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.high_water import HighWater
from dgpo_core.models.protocol import Conditioning


def activation_bytes(model: DiffusersModel, dtype: torch.dtype) -> int:
    """Bytes of one picture's graph; model has its network on the device meta.

    With checkpointing these are the inputs of all blocks, and once what the largest block keeps when computed again.
    """
    weights = {weight.untyped_storage()._cdata for weight in _held(model.network)}
    kept, blocks = _Kept(weights), [_Kept(weights)]

    def checkpointed(block: Callable[..., Any], *inputs: Any) -> Any:
        for one in inputs:
            if isinstance(one, Tensor):
                kept.count(one)
        blocks.append(_Kept(weights))
        with blocks[-1].counting():
            return block(*inputs)

    if model.network.is_gradient_checkpointing:
        model.network.enable_gradient_checkpointing(checkpointed)
    with kept.counting(), _FusedAttention():
        model.velocity(*_inputs(model, dtype))
    return kept.num_bytes + max(block.num_bytes for block in blocks)


def forward_bytes(model: DiffusersModel, dtype: torch.dtype) -> int:
    """The most bytes that a forward of one picture holds at one time, without LoRA and gradient; on the device meta."""
    with torch.no_grad(), model.reference(), _FusedAttention(), HighWater(_held(model.network)) as water:
        model.velocity(*_inputs(model, dtype))
    return water.most


def decoding_bytes(model: DiffusersModel, dtype: torch.dtype) -> int:
    """The same of the autoencoder, for one picture."""
    vae = model.pipeline.vae
    with torch.no_grad(), _FusedAttention(), HighWater(_held(vae), as_on_gpu=True) as water:
        Autoencoder(vae).decoded(torch.empty(1, *model.latent_shape, dtype=dtype, device="meta"))
    return water.most


def _held(network: nn.Module) -> list[Tensor]:
    """What is there before any forward."""
    return [*network.parameters(), *network.buffers()]


class _Kept:
    """Different tensors that were saved, but for the network's own weights."""

    def __init__(self, weights: set[int]) -> None:
        self._weights = weights
        self._found: dict[int, Tensor] = {}

    def count(self, tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in self._weights:
            self._found[key] = tensor  # held, so that its key is not given to another
        return tensor

    @contextmanager
    def counting(self) -> Iterator[None]:
        with torch.autograd.graph.saved_tensors_hooks(self.count, lambda tensor: tensor):
            yield

    @property
    def num_bytes(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._found.values())


class _FusedAttention(TorchFunctionMode):
    """Attention as CPUs and GPUs compute it: without a table of every token with every other."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return _KeepsInputs.apply(given["query"], given["key"], given["value"])
        return func(*args, **(kwargs or {}))


class _KeepsInputs(torch.autograd.Function):
    """Stands for a fused attention, which keeps its inputs and its result."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _inputs(model: DiffusersModel, dtype: torch.dtype) -> tuple[Tensor, Tensor, Conditioning]:
    meta = torch.device("meta")
    tokens, width, pooled = model.prompt_shape()
    embeddings = torch.empty(1, tokens, width, dtype=dtype, device=meta)
    conditioning = Conditioning(embeddings, torch.empty(1, pooled, dtype=dtype, device=meta) if pooled else None)
    return torch.empty(1, *model.latent_shape, device=meta), torch.empty((), device=meta), conditioning
