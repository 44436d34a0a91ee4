"""Stable Diffusion 3 and 3.5, and the Shapes model, which is a small one."""

from __future__ import annotations

from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from dgpo_core.flow import timestep_of
from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.protocol import Conditioning

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
T5_LENGTH = 256


class SD3Model(DiffusersModel):
    """A Stable Diffusion 3 transformer, which predicts the velocity itself."""

    architecture = "sd3"
    pipeline_class = StableDiffusion3Pipeline
    lora_targets = ATTENTION + FEED_FORWARD

    def _sizes(self) -> tuple[tuple[int, int, int], tuple[int, int]]:
        config = self._network.config
        side = config.sample_size * 2 ** (len(self._pipeline.vae.config.block_out_channels) - 1)
        return (config.in_channels, config.sample_size, config.sample_size), (side, side)

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, _, pooled, _ = self._pipeline.encode_prompt(
            prompt,
            None,
            None,
            do_classifier_free_guidance=False,
            max_sequence_length=T5_LENGTH if self._pipeline.text_encoder_3 is not None else 0,
        )
        return Conditioning(embeddings, pooled)

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        return self._lora(
            hidden_states=x.to(conditioning.embeddings.dtype),
            encoder_hidden_states=conditioning.embeddings,
            pooled_projections=conditioning.pooled,
            timestep=timestep_of(sigma),
            return_dict=False,
        )[0]
