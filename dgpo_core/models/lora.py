"""LoRA matrices in a frozen network: where they sit, and how the network draws with and without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.func import functional_call

from dgpo_core.seeds import seed_of


class Lora:
    """A fresh LoRA in float32 on the layers whose names end in one of targets; all other weights stay frozen."""

    def __init__(
        self,
        network: nn.Module,
        *,
        rank: int,
        alpha: int,
        targets: Sequence[str],
        seed: int,
        is_checkpointed: bool = False,
    ) -> None:
        self._network, self._scale = network, alpha / rank
        config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(targets))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "lora"))
            inject_adapter_in_model(config, network)
        for parameter in self.parameters().values():
            # In bfloat16 an update of 3e-4 is smaller than the spacing of the weights and would be lost.
            parameter.data = parameter.data.float()
        self._layers = {name: one for name, one in network.named_modules() if isinstance(one, LoraLayer)}
        weights = [layer.get_base_layer().weight for layer in self._layers.values()]
        self.can_merge = all(weight.is_floating_point() for weight in weights)
        """Whether the weights can take it up; quantized ones cannot."""
        self._is_exact = all(weight.dtype == torch.float32 for weight in weights)
        # In half precision the sum would round the LoRA away.
        # Activations that are computed again, in the backward pass, are so with the network's own weights.
        self._trains_added = self._is_exact and not is_checkpointed and _is_quicker_added(weights, rank)
        self._is_left_out = False

    @property
    def is_exact_when_merged(self) -> bool:
        """Whether merged() rounds no more than float32 does."""
        return self._is_exact or not self.can_merge

    def parameters(self) -> dict[str, nn.Parameter]:
        """The LoRA matrices by name."""
        return {name: value for name, value in self._network.named_parameters() if "lora_" in name}

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers, by the quicker of two ways to multiply with the LoRA where it is trained."""
        if not self._trains_added or self._is_left_out or not torch.is_grad_enabled():
            return self._network(*inputs, **named)
        added = self._added_weights()
        with self.left_out():
            return functional_call(self._network, added, inputs, named)

    def _added_weights(self) -> dict[str, Tensor]:
        """Each weight with its LoRA added, by name; gradients flow into the LoRA."""
        return {
            f"{name}.base_layer.weight": layer.get_base_layer().weight + layer.get_delta_weight("default")
            for name, layer in self._layers.items()
        }

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Within this with, the network is the frozen start."""
        self._enable(False)
        self._is_left_out = True
        try:
            yield
        finally:
            self._is_left_out = False
            self._enable(True)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """LoRA merged into the weights: half the kernels, and no gradient. The originals come back as they were.

        Quantized weights cannot take it up; then it stays beside them.
        """
        if not self.can_merge:
            with torch.no_grad():
                yield
            return
        layers = self._layers.values()
        originals = [layer.get_base_layer().weight.data for layer in layers]
        try:
            for layer, original in zip(layers, originals, strict=True):
                layer.get_base_layer().weight.data = original + layer.get_delta_weight("default").to(original.dtype)
            self._enable(False)
            with torch.no_grad():
                yield
        finally:
            for layer, original in zip(layers, originals, strict=True):
                layer.get_base_layer().weight.data = original
            self._enable(True)

    def plain_weights(self) -> dict[str, Tensor]:
        """All weights of the network under the names they have without a LoRA; merged ones within merged()."""
        named = {name.replace(".base_layer.", "."): one for name, one in self._network.state_dict().items()}
        return {name: one for name, one in named.items() if "lora_" not in name}

    def scaled_weights(self) -> dict[str, Tensor]:
        """The LoRA's matrices under the names that diffusers saves them by, for an alpha equal to the rank."""
        return {
            name: value * self._scale if ".lora_B." in name else value
            for name, value in get_peft_model_state_dict(self._network).items()
        }

    def _enable(self, is_on: bool) -> None:
        for layer in self._layers.values():
            # What enable_adapters() sets, without its walk over all that needs a gradient: 6 ms, twenty times a step.
            layer._disable_adapters = not is_on


def _is_quicker_added(weights: Sequence[Tensor], rank: int) -> bool:
    """Whether layers train quicker as weights with their LoRA added than with the LoRA beside them.

    Per token, added costs a product of the weight's size for its gradient, beside costs three of the LoRA's size.
    """
    return sum(weight.numel() for weight in weights) < 3 * rank * sum(sum(weight.shape) for weight in weights)
