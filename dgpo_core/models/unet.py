"""Stable Diffusion 1.5, 2 and XL: a U-Net that predicts noise or v."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from dgpo_core.models.diffusers_model import CROSS_ATTENTION
from dgpo_core.models.diffusion_model import DiffusionModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.protocol import Conditioning

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")


class SDModel(DiffusionModel):
    """Stable Diffusion 1.5, or 2, which predicts v."""

    architecture = "sd"
    pipeline_class = StableDiffusionPipeline
    network_name = "unet"
    prompt_tokens = 77
    attention = ATTENTION
    feed_forward = FEED_FORWARD
    prompt_layers = CROSS_ATTENTION

    def _geometry(self) -> Geometry:
        config = self._network.config
        return Geometry(
            channels=config.in_channels,
            pixels=self._pipeline.vae_scale_factor,
            own_side=config.sample_size,
            multiple=2 ** (len(config.block_out_channels) - 1),
        )

    def _encoded(self, prompt: str) -> Conditioning:
        return Conditioning(self._pipeline.encode_prompt(prompt, self.device, 1, False)[0])

    def _prediction(self, noisy: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        return self._ask(noisy, timestep, encoder_hidden_states=conditioning.embeddings)


class SDXLModel(DiffusionModel):
    """Stable Diffusion XL: told the size of the picture beside the prompt, as the stock pipeline tells it."""

    architecture = "sdxl"
    pipeline_class = StableDiffusionXLPipeline
    network_name = "unet"
    prompt_tokens = 77
    attention = ATTENTION
    feed_forward = FEED_FORWARD
    prompt_layers = CROSS_ATTENTION

    _geometry = SDModel._geometry

    def prompt_shape(self) -> tuple[int, int, int]:
        tokens, width, _ = super().prompt_shape()
        config = self._network.config
        return tokens, width, config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, _, pooled, _ = self._pipeline.encode_prompt(
            prompt, device=self.device, do_classifier_free_guidance=False
        )
        if not prompt and self._pipeline.config.force_zeros_for_empty_prompt:
            return Conditioning(torch.zeros_like(embeddings), torch.zeros_like(pooled))
        return Conditioning(embeddings, pooled)

    def _prediction(self, noisy: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        size = torch.tensor([*self.picture_size, 0, 0, *self.picture_size], dtype=noisy.dtype, device=noisy.device)
        return self._ask(
            noisy,
            timestep,
            encoder_hidden_states=conditioning.embeddings,
            added_cond_kwargs={"text_embeds": conditioning.pooled, "time_ids": size.expand(len(noisy), -1)},
        )
