"""What all adapters of diffusers pipelines share; a family adds how it encodes, asks its network and scales."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ALL_LAYERS, ATTENTION, PROMPT_LAYERS, ModelConfig
from dgpo_core.models.autoencoder import Autoencoder
from dgpo_core.models.fingerprint import fingerprint
from dgpo_core.models.full_weights import FullWeights
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.lora import Lora
from dgpo_core.models.pipeline_folder import load_pipeline
from dgpo_core.models.prompt_memory import PromptMemory
from dgpo_core.models.protocol import Conditioning
from dgpo_core.models.single_file import load_single_file
from dgpo_core.models.text_encoders import TextEncoders
from dgpo_core.rewards.contract import Picture

PICTURE_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
PROMPT_ATTENTION = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
"""Ends of the names of the layers of attention on either side, where prompt and picture attend to each other."""
CROSS_ATTENTION = ("attn2.to_k", "attn2.to_v")
"""The same for the layers that read the prompt where the picture attends to it and it to nothing."""
PROMPT_WIDTHS = ("caption_channels", "cap_feat_dim", "joint_attention_dim", "cross_attention_dim")
"""What networks call the numbers per token of a prompt, the first that they have."""


class DiffusersModel(ABC):
    """The policy: a network of a diffusers pipeline, trained through a LoRA or as a whole. Implements Model."""

    architecture: ClassVar[str]
    """What a checkpoint calls the family."""
    pipeline_class: ClassVar[type[DiffusionPipeline]]
    network_name: ClassVar[str] = "transformer"
    """The pipeline's part that is trained."""
    prompt_tokens: ClassVar[int]
    """How many tokens a prompt has, or about how many where it may be of any length."""
    attention: ClassVar[tuple[str, ...]]
    """Ends of the names of the layers of attention that get a LoRA."""
    feed_forward: ClassVar[tuple[str, ...]] = ()
    """The same for the layers between attentions."""
    prompt_layers: ClassVar[tuple[str, ...]] = ()
    """The same for the layers on the prompt's side, of both kinds; none where prompt and picture share all."""

    sigma_max: float = 1.0

    def __init__(self, pipeline: Any, config: ModelConfig, *, seed: int) -> None:
        self._pipeline = pipeline
        self._network: Any = getattr(pipeline, self.network_name)
        self._config = config
        self._fingerprint = fingerprint(self._network)
        self._known = PromptMemory(config.prompts_remembered)
        self._text_encoders = TextEncoders(pipeline, config.text_encoders)
        self.num_evaluations = 0
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(False).eval()
        self.device: torch.device = next(self._network.parameters()).device
        self._dtype: torch.dtype = pipeline.vae.dtype
        geometry = self._geometry()
        side = geometry.side(config.picture_side)
        self.latent_shape = (geometry.channels, side, side)
        self.picture_size = (side * geometry.pixels, side * geometry.pixels)
        self._autoencoder = Autoencoder(pipeline.vae, geometry.pixels)
        self._trained = self._new_trained(seed)
        if config.checkpointing:
            self._network.enable_gradient_checkpointing()

    def _new_trained(self, seed: int) -> Lora | FullWeights:
        config = self._config
        if config.trained == "all_weights":
            return FullWeights(self._network)
        targets = self._targets()
        return Lora(
            self._network,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            targets=targets,
            seed=seed,
            is_checkpointed=config.checkpointing,
        )

    def _targets(self) -> tuple[str, ...]:
        """Ends of the names of the layers that get a LoRA."""
        if self._config.lora_targets == PROMPT_LAYERS:
            if not self.prompt_layers:
                raise ModelError(
                    f"model.lora_targets is {PROMPT_LAYERS}, but in models of the family {self.architecture} prompt "
                    f"and picture go through the same layers. Set it to {ALL_LAYERS} or {ATTENTION}."
                )
            return self.prompt_layers
        return self.attention + (self.feed_forward if self._config.lora_targets == ALL_LAYERS else ())

    @classmethod
    def load(
        cls, folder: Path, *, seed: int, device: str = "cpu", dtype: torch.dtype | None = None, **settings: Any
    ) -> Self:
        """from_folder() with settings by name."""
        config = ModelConfig(folder=str(folder), **settings)
        return cls.from_folder(folder, config, seed=seed, device=device, dtype=dtype)

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        config: ModelConfig,
        *,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        base: Path | None = None,
    ) -> Self:
        """The model of a diffusers folder of this family, fresh; or of one file, the rest of its pipeline from base.

        dtype is that of the frozen weights: bfloat16 on a GPU, float32 on a CPU, unless given.

        Raises:
            ModelError: the folder is missing, incomplete, damaged, or of another architecture.
        """
        dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
        if os.path.isfile(folder):
            pipeline = load_single_file(
                folder,
                base or folder,
                pipeline_class=cls.pipeline_class,
                network_name=cls.network_name,
                config=config,
                dtype=dtype,
            )
        else:
            pipeline = load_pipeline(folder, cls.pipeline_class, config, dtype)
        return cls(pipeline.to(device), config, seed=seed)

    @abstractmethod
    def _geometry(self) -> Geometry:
        """What sizes the model can draw."""

    def prompt_shape(self) -> tuple[int, int, int]:
        """Tokens of a prompt, numbers of each, and numbers of its pooled form, 0 where it has none."""
        config = self._network.config
        width = next(config[name] for name in PROMPT_WIDTHS if config.get(name))
        return self.prompt_tokens, width, config.get("pooled_projection_dim") or 0

    @abstractmethod
    def _encoded(self, prompt: str) -> Conditioning:
        """The conditioning of one prompt, a batch of one; of the empty prompt, that of guidance's other side.

        Pipelines are told the device; they would walk over all their modules to find it, 20 ms a prompt.
        """

    @abstractmethod
    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """velocity() in whatever precision the network answers; x is float32 and sigma (B,)."""

    @property
    def pipeline(self) -> Any:
        """The stock pipeline around this model, LoRA included."""
        return self._pipeline

    @property
    def network(self) -> Any:
        """The part of the pipeline that is trained."""
        return self._network

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        return self._trained.parameters()

    @torch.no_grad()
    def prepare(self, prompts: Sequence[str]) -> None:
        if self._text_encoders.stay:
            return
        self._text_encoders.check_room(len(set(prompts)), self._known.bound)
        for prompt in dict.fromkeys(prompts):  # not by encode(), which puts them all on the device together
            self._remembered(prompt)
        self._text_encoders.leave()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        places: dict[str, int] = {}
        for prompt in prompts:
            places.setdefault(prompt, len(places))
        distinct = Conditioning.joined([self._remembered(prompt) for prompt in places]).to(self.device)
        return distinct.select([places[prompt] for prompt in prompts])

    def _remembered(self, prompt: str) -> Conditioning:
        found = self._known.get(prompt)
        if found is None:
            with self._text_encoders.at_hand(prompt):
                found = self._encoded(prompt).to(torch.device("cpu"))
            self._known.put(prompt, found)
        return found

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        self.num_evaluations += len(x)
        level = sigma.to(x.device, torch.float32).expand(len(x))
        with self._precision():
            return self._velocity(x, level, conditioning).float()

    def _ask(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers, first of its results."""
        return self._trained(*inputs, return_dict=False, **named)[0]

    def _precision(self) -> AbstractContextManager[Any]:
        """All weights are trained in float32; a GPU computes in what they came in all the same, and so is reckoned."""
        is_cast = self._config.trained == "all_weights" and self._dtype != torch.float32
        if is_cast and self.device.type != "meta":
            return torch.autocast(self.device.type, self._dtype)
        return nullcontext()

    @contextmanager
    def reference(self) -> Iterator[None]:
        with self._trained.left_out():
            yield

    @property
    def is_exact_when_drawing(self) -> bool:
        return self._trained.is_exact_when_merged

    @contextmanager
    def drawing(self) -> Iterator[None]:
        with self._trained.merged():
            yield

    def save_merged(self, folder: Path) -> None:
        """Saves a stock pipeline folder that draws as the policy does, its LoRA merged into the weights.

        Raises:
            ModelError: the weights are quantized, or the text encoders were dropped; nothing is written.
        """
        self._text_encoders.check_here()
        if not self._trained.can_merge:
            raise ModelError(
                "The weights of this model are quantized, and a LoRA cannot be merged into such. Save the LoRA "
                "instead, which the stock pipeline reads beside quantized and plain weights alike."
            )
        plain = type(self._network).from_config(self._network.config)
        with self.drawing():
            plain.load_state_dict(self._trained.plain_weights())
        plain.to(self._dtype)
        pipeline = self.pipeline_class(**self._pipeline.components | {self.network_name: plain})
        for part in (plain, pipeline.vae):
            part.register_to_config(_name_or_path="")  # else the saved folder tells where this one lay
        pipeline.save_pretrained(folder, safe_serialization=True)

    def save_lora(self, folder: Path) -> None:
        """Saves the LoRA so that the stock pipeline's load_lora_weights(folder) reads it.

        Its scale is multiplied into the weights, for readers that know no alpha.

        Raises:
            ModelError: there is no LoRA, or the stock pipeline cannot read any.
        """
        if isinstance(self._trained, FullWeights) or not hasattr(self.pipeline_class, "save_lora_weights"):
            why = "all weights were trained" if isinstance(self._trained, FullWeights) else "its pipeline reads none"
            raise ModelError(f"There is no LoRA to save: {why}. Save the merged pipeline instead.")
        weights = {f"{self.network_name}_lora_layers": self._trained.scaled_weights()}
        self.pipeline_class.save_lora_weights(folder, safe_serialization=True, **weights)

    def decode(self, latents: Tensor) -> list[Picture]:
        return self._autoencoder.decode(latents)

    def encode_pictures(self, pictures: Sequence[Picture]) -> Tensor:
        return self._autoencoder.encode(pictures)

    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Latents averaged over each quarter of the picture."""
        return self._autoencoder.features(pictures)

    def identity(self) -> Mapping[str, str | int]:
        shared: dict[str, str | int] = {"architecture": self.architecture, "transformer": self._fingerprint}
        if self._config.trained == "all_weights":
            return shared | {"trained": "all_weights"}
        size = {"lora_rank": self._config.lora_rank, "lora_alpha": self._config.lora_alpha}
        # Named only where not all layers have a LoRA, so that older checkpoints still belong.
        places = {} if self._config.lora_targets == ALL_LAYERS else {"lora_targets": self._config.lora_targets}
        return shared | size | places
