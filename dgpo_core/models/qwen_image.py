"""Qwen-Image: a flow on packed latents, with prompts of any length."""

from __future__ import annotations

import torch
from diffusers import QwenImagePipeline
from torch import Tensor

from dgpo_core.models.diffusers_model import PICTURE_ATTENTION, PROMPT_ATTENTION, DiffusersModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.packing import SIDE, packed, unpacked
from dgpo_core.models.protocol import Conditioning


class QwenImageModel(DiffusersModel):
    """A Qwen-Image transformer. Its pipeline shortens guided velocities to their old length; the lab does not."""

    architecture = "qwen-image"
    pipeline_class = QwenImagePipeline
    prompt_tokens = 64
    attention = (*PICTURE_ATTENTION, *PROMPT_ATTENTION)
    feed_forward = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
    prompt_layers = (*PROMPT_ATTENTION, "txt_mlp.net.0.proj", "txt_mlp.net.2")

    def _geometry(self) -> Geometry:
        return Geometry.of_packed(self._pipeline, self._network.config)

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, mask = self._pipeline.encode_prompt(prompt, device=self.device)
        if mask is None:
            mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        return Conditioning(embeddings, mask=mask.bool())

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        _, height, width = self.latent_shape
        is_guided = self._network.config.guidance_embeds
        tokens = self._ask(
            hidden_states=packed(x.to(conditioning.embeddings.dtype)),
            timestep=sigma,
            guidance=torch.full_like(sigma, self._config.distilled_guidance) if is_guided else None,
            encoder_hidden_states=conditioning.embeddings,
            encoder_hidden_states_mask=conditioning.mask,
            img_shapes=[[(1, height // SIDE, width // SIDE)]] * len(x),
        )
        return unpacked(tokens, height, width)
