"""How much memory is taken at the worst moment, counted tensor by tensor on any device, also on meta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIED_BY_CONVOLUTIONS = (torch.bfloat16, torch.float16)


class HighWater(TorchDispatchMode):
    """Within this with, counts what new tensors hold; those known before are not counted, nor are their views.

    now is the bytes of new tensors that are there, most the most that were there at one time. With as_on_gpu a
    convolution in 16 bits holds its input once more while it works: near what cuDNN was seen to take (docs/models.md).
    """

    def __init__(self, known: Iterable[Tensor] = (), *, as_on_gpu: bool = False) -> None:
        super().__init__()
        self.now = self.most = 0
        self._as_on_gpu = as_on_gpu
        self._known = [one.untyped_storage() for one in known]  # held, so that no other gets the id of one
        self._sizes = {id(one): 0 for one in self._known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, Tensor):
                self._count(one)
        if self._as_on_gpu and func is torch.ops.aten.convolution.default and args[0].dtype in COPIED_BY_CONVOLUTIONS:
            self.most = max(self.most, self.now + args[0].nbytes)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += self._sizes[key]
        self.most = max(self.most, self.now)
        finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)
