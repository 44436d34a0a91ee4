"""Z-Image: a flow whose network counts time from noise to picture and predicts the way there."""

from __future__ import annotations

import torch
from diffusers import ZImagePipeline
from torch import Tensor

from dgpo_core.models.diffusers_model import DiffusersModel
from dgpo_core.models.geometry import Geometry
from dgpo_core.models.protocol import Conditioning

OWN_PIXELS = 1024


class ZImageModel(DiffusersModel):
    """A Z-Image transformer. Its pipeline's guidance_scale is one less than the lab's."""

    architecture = "z-image"
    pipeline_class = ZImagePipeline
    prompt_tokens = 64
    attention = ("to_q", "to_k", "to_v", "to_out.0")
    feed_forward = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")

    def _geometry(self) -> Geometry:
        pixels = self._pipeline.vae_scale_factor
        return Geometry(
            channels=self._network.config.in_channels, pixels=pixels, own_side=OWN_PIXELS // pixels, multiple=2
        )

    def _encoded(self, prompt: str) -> Conditioning:
        ((embeddings,), _) = self._pipeline.encode_prompt(prompt, self.device, do_classifier_free_guidance=False)
        return Conditioning(
            embeddings[None], mask=torch.ones(1, len(embeddings), dtype=torch.bool, device=embeddings.device)
        )

    def _velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        frames = x.to(conditioning.embeddings.dtype).unsqueeze(2)
        prompts = list(conditioning.embeddings)
        if conditioning.mask is not None:
            prompts = [one[counts] for one, counts in zip(prompts, conditioning.mask, strict=True)]
        answers = self._ask(list(frames.unbind()), 1 - sigma, prompts)
        return -torch.stack(list(answers)).squeeze(2)
