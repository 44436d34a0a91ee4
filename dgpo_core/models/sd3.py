"""Stable Diffusion 3 and 3.5, and the Shapes model, which is a small one."""

from __future__ import annotations

from diffusers import StableDiffusion3Pipeline
from torch import Tensor

from dgpo_core.flow import timestep_of
from dgpo_core.models.diffusers_model import PICTURE_ATTENTION, PROMPT_ATTENTION, DiffusersModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.protocol import Conditioning

T5_LENGTH = 256


class SD3Model(DiffusersModel):
    """A Stable Diffusion 3 transformer, which predicts the velocity itself."""

    architecture = "sd3"
    pipeline_class = StableDiffusion3Pipeline
    attention = (*PICTURE_ATTENTION, *PROMPT_ATTENTION)
    feed_forward = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
    prompt_layers = (*PROMPT_ATTENTION, "ff_context.net.0.proj", "ff_context.net.2")

    def prompt_shape(self) -> tuple[int, int, int]:
        config = self._network.config
        tokens = self._pipeline.text_encoder.config.max_position_embeddings
        tokens += T5_LENGTH if self._pipeline.text_encoder_3 is not None else 0
        return tokens, config.joint_attention_dim, config.pooled_projection_dim

    def _geometry(self) -> Geometry:
        config = self._network.config
        return Geometry.of_patches(self._pipeline, config, largest_side=config.pos_embed_max_size * config.patch_size)

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, _, pooled, _ = self._pipeline.encode_prompt(
            prompt,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=T5_LENGTH if self._pipeline.text_encoder_3 is not None else 0,
        )
        return Conditioning(embeddings, pooled)

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        return self._ask(
            hidden_states=x.to(conditioning.embeddings.dtype),
            encoder_hidden_states=conditioning.embeddings,
            pooled_projections=conditioning.pooled,
            timestep=timestep_of(sigma),
        )
