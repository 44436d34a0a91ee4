"""PixArt-Sigma: a transformer that predicts noise, and beside it a spread that is not used."""

from __future__ import annotations

from diffusers import PixArtSigmaPipeline
from torch import Tensor

from dgpo_core.models.diffusers_model import CROSS_ATTENTION
from dgpo_core.models.diffusion_model import DiffusionModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.protocol import Conditioning


class PixArtModel(DiffusionModel):
    """A PixArt-Sigma transformer."""

    architecture = "pixart-sigma"
    pipeline_class = PixArtSigmaPipeline
    prompt_tokens = 300
    attention = ("to_q", "to_k", "to_v", "to_out.0")
    feed_forward = ("ff.net.0.proj", "ff.net.2")
    prompt_layers = CROSS_ATTENTION

    def _geometry(self) -> Geometry:
        return Geometry.of_patches(self._pipeline, self._network.config)

    def _encoded(self, prompt: str) -> Conditioning:
        embeddings, mask, _, _ = self._pipeline.encode_prompt(
            prompt, do_classifier_free_guidance=False, device=self.device
        )
        return Conditioning(embeddings, mask=mask)

    def _prediction(self, noisy: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        return self._ask(
            noisy,
            encoder_hidden_states=conditioning.embeddings,
            encoder_attention_mask=conditioning.mask,
            timestep=timestep,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        )[:, : noisy.shape[1]]
