"""FLUX.1-dev: a flow on packed latents, told how strongly to follow the prompt."""

from __future__ import annotations

import torch
from diffusers import FluxPipeline
from torch import Tensor

from dgpo_core.models.diffusers_model import PICTURE_ATTENTION, PROMPT_ATTENTION, DiffusersModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.packing import SIDE, packed, unpacked
from dgpo_core.models.protocol import Conditioning

T5_LENGTH = 512


class FluxModel(DiffusersModel):
    """A FLUX.1 transformer. Its distilled guidance is a number it is given, and is not classifier-free guidance."""

    architecture = "flux"
    pipeline_class = FluxPipeline
    prompt_tokens = T5_LENGTH
    attention = (*PICTURE_ATTENTION, *PROMPT_ATTENTION)
    feed_forward = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp")
    prompt_layers = (*PROMPT_ATTENTION, "ff_context.net.0.proj", "ff_context.net.2")

    def _geometry(self) -> Geometry:
        return Geometry.of_packed(self._pipeline, self._network.config)

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, pooled, _ = self._pipeline.encode_prompt(prompt, device=self.device, max_sequence_length=T5_LENGTH)
        return Conditioning(embeddings, pooled)

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        _, height, width = self.latent_shape
        dtype = conditioning.embeddings.dtype
        is_guided = self._network.config.guidance_embeds
        tokens = self._ask(
            hidden_states=packed(x.to(dtype)),
            timestep=sigma,
            guidance=torch.full_like(sigma, self._config.distilled_guidance) if is_guided else None,
            pooled_projections=conditioning.pooled,
            encoder_hidden_states=conditioning.embeddings,
            txt_ids=torch.zeros(conditioning.embeddings.shape[1], 3, device=x.device, dtype=dtype),
            img_ids=_places(height // SIDE, width // SIDE).to(x.device, dtype),
        )
        return unpacked(tokens, height, width)


def _places(rows: int, columns: int) -> Tensor:
    """Row and column of every token, after a zero."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], dim=-1).reshape(-1, 3)
