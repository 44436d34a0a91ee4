"""Stable Diffusion 3 and 3.5, and the Shapes model, which is a small one: diffusers weights, peft LoRA."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from dgpo_core.errors import ModelError
from dgpo_core.flow import timestep_of
from dgpo_core.models.protocol import Conditioning
from dgpo_core.rewards.contract import Picture
from dgpo_core.seeds import seed_of

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
DECODE_BATCH = 32
T5_LENGTH = 256
FINGERPRINT_NUMBERS = 64
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model")


class SD3Model:
    """The policy: a frozen Stable Diffusion 3 transformer with a trainable LoRA. Implements Model."""

    def __init__(
        self, pipeline: StableDiffusion3Pipeline, *, folder: Path, lora_rank: int, lora_alpha: int, seed: int
    ) -> None:
        self._pipeline = pipeline
        self._transformer = pipeline.transformer
        self._folder = folder
        self._lora = (lora_rank, lora_alpha)
        self._fingerprint = _fingerprint(pipeline.transformer)
        self._known: dict[str, tuple[Tensor, Tensor]] = {}
        self.num_evaluations = 0
        for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            part.requires_grad_(False).eval()
        self.device = next(pipeline.transformer.parameters()).device
        config = pipeline.transformer.config
        self.latent_shape = (config.in_channels, config.sample_size, config.sample_size)
        side = config.sample_size * 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        self.picture_size = (side, side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "lora"))
            self._transformer.add_adapter(
                LoraConfig(
                    r=lora_rank,
                    lora_alpha=lora_alpha,
                    init_lora_weights="gaussian",
                    target_modules=list(ATTENTION + FEED_FORWARD),
                )
            )
        for parameter in self.policy_parameters().values():
            # In bfloat16 an update of 3e-4 is smaller than the spacing of the weights and would be lost.
            parameter.data = parameter.data.float()
        self._layers = {
            name: module for name, module in self._transformer.named_modules() if isinstance(module, LoraLayer)
        }
        self._trains_merged = _is_quicker_merged(
            [layer.get_base_layer().weight for layer in self._layers.values()], lora_rank
        )
        self._is_reference = False

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
    ) -> SD3Model:
        """The model of a diffusers folder, with a fresh LoRA in float32.

        dtype is that of the frozen weights: bfloat16 on a GPU, float32 on a CPU, unless given.

        Raises:
            ModelError: the folder is missing, incomplete, damaged, or of another architecture.
        """
        _check_folder(folder)
        dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
        without_t5 = {} if (folder / "text_encoder_3").exists() else {"text_encoder_3": None, "tokenizer_3": None}
        try:
            pipeline = StableDiffusion3Pipeline.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, **without_t5
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelError(
                f"The model in {folder} cannot be loaded: {reason}. Restore the folder or choose another."
            ) from error
        _check_whole(pipeline, folder)
        return cls(pipeline.to(device), folder=folder, lora_rank=lora_rank, lora_alpha=lora_alpha, seed=seed)

    @property
    def pipeline(self) -> StableDiffusion3Pipeline:
        """The stock pipeline around this model, LoRA included."""
        return self._pipeline

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self._transformer.named_parameters() if "lora_" in name}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._known:
                embeddings, _, pooled, _ = self._pipeline.encode_prompt(
                    prompt,
                    None,
                    None,
                    do_classifier_free_guidance=False,
                    max_sequence_length=T5_LENGTH if self._pipeline.text_encoder_3 is not None else 0,
                )
                self._known[prompt] = (embeddings[0], pooled[0])
        rows = [self._known[prompt] for prompt in prompts]
        return Conditioning(torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]))

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        self.num_evaluations += len(x)
        dtype = conditioning.embeddings.dtype
        inputs = {
            "hidden_states": x.to(dtype),
            "encoder_hidden_states": conditioning.embeddings,
            "pooled_projections": conditioning.pooled,
            "timestep": timestep_of(sigma.to(x.device, torch.float32)).expand(len(x)),
            "return_dict": False,
        }
        if self._trains_merged and torch.is_grad_enabled() and not self._is_reference:
            merged = self._merged_weights()
            with self.reference():
                return functional_call(self._transformer, merged, kwargs=inputs)[0].float()
        return self._transformer(**inputs)[0].float()

    def _merged_weights(self) -> dict[str, Tensor]:
        """Each weight with its LoRA added, by name; gradients flow into the LoRA."""
        return {
            f"{name}.base_layer.weight": layer.get_base_layer().weight + layer.get_delta_weight("default")
            for name, layer in self._layers.items()
        }

    @contextmanager
    def reference(self) -> Iterator[None]:
        self._enable_lora(False)
        self._is_reference = True
        try:
            yield
        finally:
            self._is_reference = False
            self._enable_lora(True)

    @property
    def is_exact_when_drawing(self) -> bool:
        return bool(self._transformer.dtype == torch.float32)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """LoRA merged into the weights: half the kernels. The originals come back as they were."""
        layers = self._layers.values()
        originals = [layer.get_base_layer().weight.data for layer in layers]
        try:
            for layer, original in zip(layers, originals, strict=True):
                layer.get_base_layer().weight.data = original + layer.get_delta_weight("default").to(original.dtype)
            self._enable_lora(False)
            with torch.no_grad():
                yield
        finally:
            for layer, original in zip(layers, originals, strict=True):
                layer.get_base_layer().weight.data = original
            self._enable_lora(True)

    def save_merged(self, folder: Path) -> None:
        """Saves a stock pipeline folder that draws as the policy does, its LoRA merged into the weights."""
        plain = SD3Transformer2DModel.from_config(self._transformer.config)
        with self.drawing():
            merged = {name.replace(".base_layer.", "."): one for name, one in self._transformer.state_dict().items()}
            plain.load_state_dict({name: one for name, one in merged.items() if "lora_" not in name})
        plain.to(self._transformer.dtype)
        others = {name: part for name, part in self._pipeline.components.items() if name != "transformer"}
        pipeline = StableDiffusion3Pipeline(transformer=plain, **others)
        for part in (pipeline.transformer, pipeline.vae):
            part.register_to_config(_name_or_path="")  # else the saved folder tells where this one lay
        pipeline.save_pretrained(folder, safe_serialization=True)

    def _enable_lora(self, is_on: bool) -> None:
        for layer in self._layers.values():
            layer.enable_adapters(is_on)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Picture]:
        vae = self._pipeline.vae
        pictures: list[Picture] = []
        for part in latents.split(DECODE_BATCH):
            scaled = part.to(vae.dtype) / vae.config.scaling_factor + vae.config.shift_factor
            decoded = vae.decode(scaled, return_dict=False)[0].float()
            pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            pictures += list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
        return pictures

    @torch.no_grad()
    def encode_pictures(self, pictures: Sequence[Picture]) -> Tensor:
        vae = self._pipeline.vae
        latent = torch.cat(list(self._encoded(pictures)))
        return (latent - vae.config.shift_factor) * vae.config.scaling_factor

    @torch.no_grad()
    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Latents averaged over each quarter of the picture."""
        parts = self._encoded(pictures)
        return torch.cat([functional.adaptive_avg_pool2d(part, 2).flatten(1).cpu() for part in parts])

    def _encoded(self, pictures: Sequence[Picture]) -> Iterator[Tensor]:
        """The autoencoder's own latents, a part of the pictures at a time."""
        vae = self._pipeline.vae
        for start in range(0, len(pictures), DECODE_BATCH):
            pixels = torch.stack([torch.from_numpy(picture) for picture in pictures[start : start + DECODE_BATCH]])
            pixels = pixels.permute(0, 3, 1, 2).to(self.device, vae.dtype) / 127.5 - 1
            yield vae.encode(pixels).latent_dist.mode().float()

    def identity(self) -> Mapping[str, str | int]:
        return {
            "architecture": "sd3",
            "transformer": self._fingerprint,
            "lora_rank": self._lora[0],
            "lora_alpha": self._lora[1],
        }


def _is_quicker_merged(weights: Sequence[Tensor], rank: int) -> bool:
    """Whether layers train quicker as weights with their LoRA added than with the LoRA beside them.

    Per token, added costs a product of the weight's size for its gradient, beside costs three of the LoRA's size. In
    half precision the sum would round the LoRA away.
    """
    lora_size = rank * sum(sum(weight.shape) for weight in weights)
    is_exact = all(weight.dtype == torch.float32 for weight in weights)
    return is_exact and sum(weight.numel() for weight in weights) < 3 * lora_size


def _fingerprint(transformer: nn.Module) -> str:
    """A hash of names, shapes and some numbers of every weight: the same wherever the folder lies and whoever reads it.

    Not of all numbers, which would take as long as loading them; training changes the first ones too. Rounded to
    bfloat16, so that a run goes on where the weights are held in another precision.
    """
    digest = hashlib.sha256()
    for name, weight in transformer.named_parameters():
        some = weight.detach().flatten()[:FINGERPRINT_NUMBERS].to(torch.bfloat16).float().cpu()
        digest.update(f"{name} {list(weight.shape)} {some.tolist()}".encode())
    return digest.hexdigest()[:16]


def _check_folder(folder: Path) -> None:
    """Raises ModelError unless the folder looks like a saved Stable Diffusion 3 pipeline."""
    index = folder / "model_index.json"
    try:
        parts = {**json.loads(index.read_text(encoding="utf-8"))}
    except OSError as error:
        raise ModelError(
            f"There is no model in {str(folder)[:200]}: it has no model_index.json. Name a folder that holds a "
            "diffusers pipeline, such as assets/shapes-sd3."
        ) from error
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{index} is damaged: it is not a JSON object. Restore the folder or choose another."
        ) from error
    name = parts.get("_class_name")
    if name != "StableDiffusion3Pipeline":
        raise ModelError(
            f"The model in {folder} is a {name}; only StableDiffusion3Pipeline can be trained so far. Choose another."
        )
    for tokenizer in (part for part in parts if part.startswith("tokenizer") and parts[part] != [None, None]):
        # Without its files transformers makes an empty tokenizer, for which all prompts are the same.
        if not any((folder / tokenizer / file).is_file() for file in TOKENIZER_FILES):
            raise ModelError(
                f"The model in {folder} cannot be loaded: {tokenizer} has none of {', '.join(TOKENIZER_FILES)}. "
                "Restore the folder or choose another."
            )


def _check_whole(pipeline: StableDiffusion3Pipeline, folder: Path) -> None:
    """Raises ModelError where a weight was not in the files, which diffusers only warns of."""
    for part in (pipeline.transformer, pipeline.vae):
        lacking = [name for name, weight in part.named_parameters() if weight.is_meta]
        if lacking:
            raise ModelError(
                f"The model in {folder} cannot be loaded: {len(lacking)} weights are missing, first {lacking[0]}. "
                "Restore the folder or choose another."
            )
