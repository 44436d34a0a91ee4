"""Sana: a flow on latents of a 32-fold autoencoder, its prompts told what to do by an instruction."""

from __future__ import annotations

from inspect import signature

from diffusers import SanaPipeline
from torch import Tensor

from dgpo_core.flow import timestep_of
from dgpo_core.models.diffusers_model import CROSS_ATTENTION, DiffusersModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.protocol import Conditioning

INSTRUCTION = signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default


class SanaModel(DiffusersModel):
    """A Sana transformer. Its feed-forward layers are convolutions, which get no LoRA."""

    architecture = "sana"
    pipeline_class = SanaPipeline
    prompt_tokens = 300
    attention = ("to_q", "to_k", "to_v", "to_out.0")
    prompt_layers = CROSS_ATTENTION

    def _geometry(self) -> Geometry:
        return Geometry.of_patches(self._pipeline, self._network.config)

    def _encoded(self, prompt: str) -> Conditioning:
        # As in the stock pipeline, the side of guidance without a prompt is without the instruction too.
        embeddings, mask, _, _ = self._pipeline.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            device=self.device,
            complex_human_instruction=INSTRUCTION if prompt else None,
        )
        return Conditioning(embeddings, mask=mask)

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        return self._ask(
            x.to(conditioning.embeddings.dtype),
            encoder_hidden_states=conditioning.embeddings,
            encoder_attention_mask=conditioning.mask,
            timestep=timestep_of(sigma) * self._network.config.timestep_scale,
        )[:, : x.shape[1]]
