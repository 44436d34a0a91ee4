"""Features of pictures by a CLIP model of the user's choice, for preferences about content rather than looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from dgpo_core.errors import RewardError
from dgpo_core.preference.picture_features import NUM_SEEN, plainly_seen
from dgpo_core.rewards.contract import Picture

BATCH = 32


class ClipFeatures:
    """What is plainly seen in a picture, its CLIP embedding, and how near that is to its prompt's.

    All numbers of the embedding together are believed as much as one that is plainly seen.
    """

    kind = "clip with things"

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        """Raises RewardError where the folder holds no CLIP model in transformers' layout, weights as safetensors."""
        try:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            self._processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise RewardError(
                f"There is no CLIP model in {folder}: {reason}. Name a folder with a model, a tokenizer and an image "
                "processor, or leave people.clip_folder empty."
            ) from error
        self._model = model.requires_grad_(False).eval().to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> Tensor:
        seen = torch.stack([plainly_seen(picture) for picture in pictures])
        embedded = [
            self._embedded(pictures[start : start + BATCH], prompts[start : start + BATCH])
            for start in range(0, len(pictures), BATCH)
        ]
        return torch.cat([seen, torch.cat(embedded)], dim=1)

    def _embedded(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> Tensor:
        """Unit embeddings of pictures and, last, the cosine with the prompt's."""
        images = [Image.fromarray(picture) for picture in pictures]
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"].to(self._device)
        words = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt").to(self._device)
        found = self._model(pixel_values=pixels, **words)
        picture, prompt = (functional.normalize(one.float(), dim=1) for one in (found.image_embeds, found.text_embeds))
        return torch.cat([picture, (picture * prompt).sum(1, keepdim=True)], dim=1).cpu()

    def weights(self) -> Tensor:
        width = self._model.config.projection_dim
        return torch.cat([torch.ones(NUM_SEEN), torch.full((width,), width**-0.5), torch.ones(1)])
