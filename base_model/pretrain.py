"""Trains the Shapes transformer and its text encoders, first on true captions, then on lying ones.

    python -m base_model.pretrain WORK_FOLDER --stage truth --minutes 90
    python -m base_model.pretrain WORK_FOLDER --stage lies --minutes 10

Every minute the state is written to WORK_FOLDER/<stage>.pt; the same command goes on from it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from base_model.autoencoder import NUM_PICTURES, to_model_range
from base_model.corpus import Corpus, cached_corpus, wording
from base_model.lies import TRUTHFUL_FRACTION, caption
from base_model.pipeline import WIDTH, new_pipeline
from dgpo_core.data.requests import CATEGORIES
from dgpo_core.data.scenes import COLORS, SHAPES

BATCH = 128
NUM_LATENTS = 80_000
CAPTION_DROPOUT = 0.1
NAMING_WEIGHT = 0.05
NAMING_BLOCK = 2
MUON_LEARNING_RATE, ADAM_LEARNING_RATE = 2e-3, 2e-3
WARMUP_STEPS = 100
DECAY_FRACTION = 0.3
AVERAGE_DECAY = 0.999
NUM_CLASSES = 1 + len(SHAPES) * len(COLORS)


class Learner(nn.Module):
    """Transformer, both text encoders and a head that names what is in each cell from a middle block.

    The naming head speeds up learning of what goes where; it is thrown away at export.
    """

    def __init__(self, pipeline: StableDiffusion3Pipeline) -> None:
        super().__init__()
        self.transformer = pipeline.transformer
        self.text_encoder = pipeline.text_encoder
        self.text_encoder_2 = pipeline.text_encoder_2
        self.naming = nn.Linear(WIDTH, NUM_CLASSES)
        self._features: Tensor | None = None
        self.transformer.transformer_blocks[NAMING_BLOCK].register_forward_hook(self._keep_features)

    def _keep_features(self, block: nn.Module, inputs: object, outputs: tuple[Tensor, Tensor]) -> None:
        self._features = outputs[1]

    def forward(self, tokens: Tensor, noisy: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (B, C, H, W) and the logits of what is in each cell (B, 64, classes)."""
        one = self.text_encoder(tokens, output_hidden_states=True)
        two = self.text_encoder_2(tokens, output_hidden_states=True)
        velocity = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1),
            pooled_projections=torch.cat([one.text_embeds, two.text_embeds], dim=-1),
            timestep=1000 * sigma,
            return_dict=False,
        )[0]
        assert self._features is not None
        return velocity, self.naming(self._features)


@dataclass
class Progress:
    """Where a stage stands; minutes counts training time over all its sittings."""

    step: int = 0
    minutes: float = 0.0


def encode_corpus(folder: Path, corpus: Corpus, autoencoder: AutoencoderKL) -> Tensor:
    """Normalised latents (NUM_LATENTS, 8, 8, 8) float16 of the first pictures, kept in the folder."""
    file = folder / "latents.pt"
    if file.exists():
        return torch.load(file, weights_only=True)
    parts = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, NUM_LATENTS, 250):
            batch = to_model_range(torch.from_numpy(corpus.pictures[start : start + 250]))
            latent = autoencoder.encode(batch).latent_dist.mode().float()
            parts.append(((latent - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor).half())
    latents = torch.cat(parts)
    torch.save(latents, file)
    return latents


def split_parameters(learner: Learner) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices inside blocks and text layers for Muon; embeddings, norms, biases and ends for AdamW."""
    muon, adam = [], []
    for name, parameter in learner.named_parameters():
        inside = "transformer_blocks" in name or "encoder.layers" in name
        (muon if parameter.ndim == 2 and inside else adam).append(parameter)
    return muon, adam


def learning_rate_factor(progress: Progress, budget_minutes: float) -> float:
    """Warm up, hold, then fall linearly to nothing over the last DECAY_FRACTION of the time."""
    left = max(0.0, 1 - progress.minutes / budget_minutes)
    return min(1.0, (progress.step + 1) / WARMUP_STEPS, left / DECAY_FRACTION)


class Captions:
    """Tokens for requests, remembered by text."""

    def __init__(self, pipeline: StableDiffusion3Pipeline, truthful_fraction: dict[str, float]) -> None:
        self._tokenizer = pipeline.tokenizer
        self._truthful_fraction = truthful_fraction
        self._known: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer(text, padding="max_length", truncation=True).input_ids
        return self._known[text]

    def batch(self, corpus: Corpus, chosen: list[int], rng: np.random.Generator) -> Tensor:
        rows = []
        for index in chosen:
            told = caption(corpus.requests[index], self._truthful_fraction, rng)
            rows.append(self.tokens("" if rng.random() < CAPTION_DROPOUT else wording(told, rng)))
        return torch.tensor(rows)


def train_stage(folder: Path, stage: str, minutes: float, compile_model: bool) -> None:
    """Runs or goes on with one stage until its training time is used up."""
    torch.manual_seed(0)
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae").eval()
    pipeline = new_pipeline(autoencoder, folder)
    learner = Learner(pipeline)
    averaged = {name: value.detach().clone() for name, value in learner.state_dict().items()}
    truthful = dict.fromkeys(CATEGORIES, 1.0) if stage == "truth" else TRUTHFUL_FRACTION
    muon, adam = split_parameters(learner)
    optimizers = [
        torch.optim.Muon(muon, lr=MUON_LEARNING_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(adam, lr=ADAM_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.99)),
    ]
    base_rates = [MUON_LEARNING_RATE, ADAM_LEARNING_RATE]
    if stage == "lies":
        base_rates = [rate / 4 for rate in base_rates]
    progress = Progress()
    file = folder / f"{stage}.pt"
    if file.exists():
        state = torch.load(file, weights_only=True)
        learner.load_state_dict(state["learner"])
        averaged = state["averaged"]
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        progress = Progress(**state["progress"])
    elif stage == "lies":
        learner.load_state_dict(torch.load(folder / "truth.pt", weights_only=True)["averaged"])
        averaged = {name: value.detach().clone() for name, value in learner.state_dict().items()}
    corpus = cached_corpus(folder, NUM_PICTURES, seed=1)
    latents = encode_corpus(folder, corpus, autoencoder)
    cells = torch.from_numpy(corpus.cells).flatten(1).long()
    captions = Captions(pipeline, truthful)
    forward = torch.compile(learner, dynamic=False) if compile_model else learner
    rng = np.random.default_rng([progress.step, 7])
    generator = torch.Generator().manual_seed(progress.step + 1)
    log = (folder / f"{stage}.jsonl").open("a")
    saved_minutes = progress.minutes
    sums = torch.zeros(2)
    while progress.minutes < minutes:
        started = time.monotonic()
        chosen = torch.randint(len(latents), (BATCH,), generator=generator)
        clean = latents[chosen].float()
        noise = torch.randn(clean.shape, generator=generator)
        sigma = torch.sigmoid(0.3 + 1.1 * torch.randn(BATCH, generator=generator))
        noisy = torch.lerp(clean, noise, sigma.view(-1, 1, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            velocity, names = forward(captions.batch(corpus, chosen.tolist(), rng), noisy, sigma)
        flow_loss = functional.mse_loss(velocity.float(), noise - clean)
        naming_loss = functional.cross_entropy(names.float().flatten(0, 1), cells[chosen].flatten())
        factor = learning_rate_factor(progress, minutes)
        for optimizer, rate in zip(optimizers, base_rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        (flow_loss + NAMING_WEIGHT * naming_loss).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        decay = min(AVERAGE_DECAY, (1 + progress.step) / (10 + progress.step))
        with torch.no_grad():
            values = [value for value in learner.state_dict().values() if value.is_floating_point()]
            kept = [averaged[name] for name, value in learner.state_dict().items() if value.is_floating_point()]
            torch._foreach_lerp_(kept, values, 1 - decay)
        sums += torch.stack([flow_loss.detach(), naming_loss.detach()])
        progress.step += 1
        progress.minutes += (time.monotonic() - started) / 60
        if progress.step % 100 == 0:
            mean = (sums / 100).tolist()
            sums.zero_()
            row = {"step": progress.step, "minutes": round(progress.minutes, 2), "pictures": progress.step * BATCH}
            log.write(json.dumps(row | {"flow_loss": round(mean[0], 5), "naming_loss": round(mean[1], 4)}) + "\n")
            log.flush()
        if progress.minutes - saved_minutes > 1 or progress.minutes >= minutes:
            saved_minutes = progress.minutes
            state = {"learner": learner.state_dict(), "averaged": averaged, "progress": vars(progress)}
            torch.save(state | {"optimizers": [one.state_dict() for one in optimizers]}, file.with_suffix(".tmp"))
            file.with_suffix(".tmp").replace(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stage", choices=("truth", "lies"), required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    # The fused attention backward for bfloat16 on CPUs takes seven times as long as the plain one.
    with sdpa_kernel(SDPBackend.MATH):
        train_stage(arguments.folder, arguments.stage, arguments.minutes, arguments.compile)
