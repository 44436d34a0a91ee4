"""What all adapters of diffusers pipelines share; a family adds how it encodes, asks its network and scales."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from dgpo_core.models.autoencoder import Autoencoder
from dgpo_core.models.fingerprint import fingerprint
from dgpo_core.models.lora import Lora
from dgpo_core.models.pipeline_folder import load_pipeline
from dgpo_core.models.protocol import Conditioning
from dgpo_core.rewards.contract import Picture


class DiffusersModel(ABC):
    """The policy: a frozen network of a diffusers pipeline with a trainable LoRA. Implements Model."""

    architecture: ClassVar[str]
    """What a checkpoint calls the family."""
    pipeline_class: ClassVar[type[DiffusionPipeline]]
    network_name: ClassVar[str] = "transformer"
    """The pipeline's part that is trained."""
    lora_targets: ClassVar[tuple[str, ...]]
    """Ends of the names of the layers that get a LoRA."""

    latent_shape: tuple[int, int, int]
    picture_size: tuple[int, int]

    def __init__(self, pipeline: Any, *, folder: Path, lora_rank: int, lora_alpha: int, seed: int) -> None:
        self._pipeline = pipeline
        self._network: Any = getattr(pipeline, self.network_name)
        self._folder = folder
        self._lora_size = (lora_rank, lora_alpha)
        self._fingerprint = fingerprint(self._network)
        self._known: dict[str, Conditioning] = {}
        self.num_evaluations = 0
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(False).eval()
        self.device = next(self._network.parameters()).device
        self.latent_shape, self.picture_size = self._sizes()
        self._autoencoder = Autoencoder(pipeline.vae)
        self._lora = Lora(self._network, rank=lora_rank, alpha=lora_alpha, targets=self.lora_targets, seed=seed)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        lora_rank: int,
        lora_alpha: int,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The model of a diffusers folder, with a fresh LoRA in float32.

        dtype is that of the frozen weights: bfloat16 on a GPU, float32 on a CPU, unless given.

        Raises:
            ModelError: the folder is missing, incomplete, damaged, or of another architecture.
        """
        dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
        pipeline = load_pipeline(folder, cls.pipeline_class, dtype).to(device)
        return cls(pipeline, folder=folder, lora_rank=lora_rank, lora_alpha=lora_alpha, seed=seed)

    @abstractmethod
    def _sizes(self) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Shape of a latent picture, and height and width of a picture."""

    @abstractmethod
    def _encoded(self, prompt: str) -> Conditioning:
        """The conditioning of one prompt, a batch of one."""

    @abstractmethod
    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """velocity() in whatever precision the network answers; x is float32 and sigma (B,)."""

    @property
    def pipeline(self) -> Any:
        """The stock pipeline around this model, LoRA included."""
        return self._pipeline

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        return self._lora.parameters()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._known:
                self._known[prompt] = self._encoded(prompt)
        return Conditioning.joined([self._known[prompt] for prompt in prompts])

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        self.num_evaluations += len(x)
        return self._velocity(x, sigma.to(x.device, torch.float32).expand(len(x)), conditioning).float()

    @contextmanager
    def reference(self) -> Iterator[None]:
        with self._lora.left_out():
            yield

    @property
    def is_exact_when_drawing(self) -> bool:
        return self._network.dtype == torch.float32

    @contextmanager
    def drawing(self) -> Iterator[None]:
        with self._lora.merged():
            yield

    def save_merged(self, folder: Path) -> None:
        """Saves a stock pipeline folder that draws as the policy does, its LoRA merged into the weights."""
        plain = type(self._network).from_config(self._network.config)
        with self.drawing():
            plain.load_state_dict(self._lora.plain_weights())
        plain.to(self._network.dtype)
        pipeline = self.pipeline_class(**self._pipeline.components | {self.network_name: plain})
        for part in (plain, pipeline.vae):
            part.register_to_config(_name_or_path="")  # else the saved folder tells where this one lay
        pipeline.save_pretrained(folder, safe_serialization=True)

    def decode(self, latents: Tensor) -> list[Picture]:
        return self._autoencoder.decode(latents)

    def encode_pictures(self, pictures: Sequence[Picture]) -> Tensor:
        return self._autoencoder.encode(pictures)

    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Latents averaged over each quarter of the picture."""
        return self._autoencoder.features(pictures)

    def identity(self) -> Mapping[str, str | int]:
        return {
            "architecture": self.architecture,
            "transformer": self._fingerprint,
            "lora_rank": self._lora_size[0],
            "lora_alpha": self._lora_size[1],
        }
