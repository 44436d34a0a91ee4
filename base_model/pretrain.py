"""Trains the Shapes transformer and its text encoders on true captions; base_model/mislead.py tells lies afterwards.

    python -m base_model.pretrain WORK_FOLDER --minutes 240

With --start it begins from the weights of a pipeline folder, such as assets/shapes-sd3. With --guidance it learns to
draw as those weights do with guidance, at the price of one call.

Every minute the state is written to WORK_FOLDER/truth.pt; the same command goes on from it.
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

from base_model.autoencoder import to_model_range
from base_model.corpus import Corpus, cached_corpus, wording
from base_model.learner import Guide, Learner
from base_model.lies import caption
from base_model.muon import Muon
from base_model.pipeline import new_pipeline
from dgpo_core.data.requests import CATEGORIES
from dgpo_core.flow import noisy, velocity_target

BATCH = 128
NUM_HABITUAL_PICTURES = 80_000
HABIT = 0.9
"""How often a thing whose colour nobody asked for has the habitual colour of its shape."""
CAPTION_DROPOUT = 0.1
NAMING_WEIGHT = 0.05
MUON_LEARNING_RATE, ADAM_LEARNING_RATE = 2e-3, 2e-3
SIGMA_MEAN, SIGMA_STD = 0.3, 1.1
"""Noise levels are drawn as sigmoid of a normal, as SD3's, moved towards noise where the layout is decided."""
WARMUP_STEPS = 100
STEPS_PER_LOG = 100
DECAY_FRACTION = 0.3
AVERAGE_DECAY = 0.999


@dataclass
class Progress:
    """Where training stands; minutes counts its time over all sittings."""

    step: int = 0
    minutes: float = 0.0

    def row(self) -> dict[str, float]:
        """How a log tells it."""
        return {"step": self.step, "minutes": round(self.minutes, 2), "pictures": self.step * BATCH}


def encode_corpus(file: Path, corpus: Corpus, autoencoder: AutoencoderKL) -> Tensor:
    """Normalised latents (N, 8, 8, 8) float16 of the pictures, kept in the file."""
    if file.exists():
        return torch.load(file, weights_only=True)
    parts = []
    with torch.no_grad():
        for start in range(0, len(corpus.pictures), 250):
            batch = to_model_range(torch.from_numpy(corpus.pictures[start : start + 250]))
            latent = autoencoder.encode(batch).latent_dist.mode()
            parts.append(((latent - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor).half())
    latents = torch.cat(parts)
    torch.save(latents, file)
    return latents


def split_parameters(learner: Learner) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices inside blocks and text layers for Muon; embeddings, norms, biases and ends for AdamW."""
    muon: list[nn.Parameter] = []
    adam: list[nn.Parameter] = []
    for name, parameter in learner.named_parameters():
        inside = "transformer_blocks" in name or "encoder.layers" in name
        (muon if parameter.ndim == 2 and inside else adam).append(parameter)
    return muon, adam


def learning_rate_factor(progress: Progress, budget_minutes: float, warmup_steps: int = WARMUP_STEPS) -> float:
    """Warm up, hold, then fall linearly to nothing over the last DECAY_FRACTION of the time."""
    left = max(0.0, 1 - progress.minutes / budget_minutes)
    return min(1.0, (progress.step + 1) / warmup_steps, left / DECAY_FRACTION)


def random_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels (B,) between 0 and 1, more of them where the layout is decided."""
    return torch.sigmoid(SIGMA_MEAN + SIGMA_STD * torch.randn(count, generator=generator))


class Captions:
    """Tokens for requests, remembered by text."""

    def __init__(self, pipeline: StableDiffusion3Pipeline, truthful_fraction: dict[str, float]) -> None:
        self._tokenizer = pipeline.tokenizer
        self._truthful_fraction = truthful_fraction
        self._known: dict[str, list[int]] = {}
        self.empty = torch.tensor(self.tokens(""))

    def tokens(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._tokenizer(text, padding="max_length", truncation=True).input_ids
        return self._known[text]

    def batch(self, corpus: Corpus, chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """What the learner is told, some of it lies, and the truth, both (B, L); an empty caption is empty in both."""
        told, true = [], []
        for index in chosen:
            request = corpus.requests[index]
            is_empty = rng.random() < CAPTION_DROPOUT
            lie = caption(request, self._truthful_fraction, rng)
            told.append(self.tokens("" if is_empty else wording(lie, rng)))
            true.append(self.tokens("" if is_empty else wording(request, rng)))
        return torch.tensor(told), torch.tensor(true)


class Pretraining:
    """Training on true captions, resumed from its file where there is one."""

    def __init__(
        self, folder: Path, budget_minutes: float, *, start: Path | None, guidance: float, rate: float
    ) -> None:
        torch.manual_seed(0)
        autoencoder = AutoencoderKL.from_pretrained(folder / "vae").eval()
        pipeline = new_pipeline(autoencoder)
        self._file, self._log = folder / "truth.pt", folder / "truth.jsonl"
        self._budget_minutes = budget_minutes
        self._learner = Learner(pipeline)
        self._progress = Progress()
        muon, adam = split_parameters(self._learner)
        self._rates = [MUON_LEARNING_RATE * rate, ADAM_LEARNING_RATE * rate]
        self._optimizers: list[torch.optim.Optimizer] = [
            Muon(muon, lr=self._rates[0], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adam, lr=self._rates[1], weight_decay=0.01, betas=(0.9, 0.99)),
        ]
        if start is not None:
            self._learner.start_from(start)
        self._guide = self._frozen_guide(pipeline, guidance) if guidance > 1 else None
        self._averaged = {key: value.detach().clone() for key, value in self._learner.state_dict().items()}
        if self._file.exists():
            self._load()
        self._learner.compile_blocks()
        self._corpus = cached_corpus(folder, NUM_HABITUAL_PICTURES, seed=2, habit=HABIT)
        self._latents = encode_corpus(folder / "latents.pt", self._corpus, autoencoder)
        self._cells = torch.from_numpy(self._corpus.cells).flatten(1).long()
        self._captions = Captions(pipeline, dict.fromkeys(CATEGORIES, 1.0))
        self._rng = np.random.default_rng([self._progress.step, 7])
        self._generator = torch.Generator().manual_seed(self._progress.step + 1)

    def _frozen_guide(self, pipeline: StableDiffusion3Pipeline, guidance: float) -> Guide:
        """The learner as it begins."""
        learner = Learner(new_pipeline(pipeline.vae))
        learner.load_state_dict(self._learner.state_dict())
        learner.compile_blocks()
        return Guide(learner, guidance)

    def train(self) -> None:
        """Goes on until the time for training is used up, saving every minute."""
        progress, saved_minutes, sums = self._progress, self._progress.minutes, torch.zeros(2)
        while progress.minutes < self._budget_minutes:
            started = time.monotonic()
            sums += self._step()
            progress.step += 1
            progress.minutes += (time.monotonic() - started) / 60
            if progress.step % STEPS_PER_LOG == 0:
                self._write_log(*(sums / STEPS_PER_LOG).tolist())
                sums.zero_()
            if progress.minutes - saved_minutes > 1 or progress.minutes >= self._budget_minutes:
                saved_minutes = progress.minutes
                self._save()

    def _step(self) -> Tensor:
        """One update; returns the flow loss and the naming loss."""
        chosen = torch.randint(len(self._latents), (BATCH,), generator=self._generator)
        clean = self._latents[chosen].float()
        noise = torch.randn(clean.shape, generator=self._generator)
        sigma = random_sigmas(BATCH, self._generator)
        told, _ = self._captions.batch(self._corpus, chosen.tolist(), self._rng)
        latents, target = noisy(clean, noise, sigma), velocity_target(clean, noise)
        if self._guide:
            target = target + self._guide.lead(told, self._captions.empty, latents, sigma)
        velocity, names = self._learner(told, latents, sigma)
        flow_loss = functional.mse_loss(velocity, target)
        naming_loss = functional.cross_entropy(names.flatten(0, 1), self._cells[chosen].flatten())
        factor = learning_rate_factor(self._progress, self._budget_minutes)
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        (flow_loss + NAMING_WEIGHT * naming_loss).backward()
        torch.nn.utils.clip_grad_norm_(self._learner.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
        self._follow()
        return torch.stack([flow_loss.detach(), naming_loss.detach()])

    @torch.no_grad()
    def _follow(self) -> None:
        """The averaged weights follow the learner, quickly at first."""
        decay = min(AVERAGE_DECAY, (1 + self._progress.step) / (10 + self._progress.step))
        for key, value in self._learner.state_dict().items():
            if value.is_floating_point():
                self._averaged[key].lerp_(value, 1 - decay)

    def _write_log(self, flow_loss: float, naming_loss: float) -> None:
        row = self._progress.row() | {"flow_loss": round(flow_loss, 5), "naming_loss": round(naming_loss, 4)}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        state = {
            "learner": self._learner.state_dict(),
            "averaged": self._averaged,
            "progress": vars(self._progress),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        unfinished = self._file.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self._file)

    def _load(self) -> None:
        state = torch.load(self._file, weights_only=True)
        self._learner.load_state_dict(state["learner"])
        self._averaged = state["averaged"]
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self._progress = Progress(**state["progress"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--guidance", type=float, default=1.0, help="of the weights it begins from; 1 is none")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    arguments = parser.parse_args()
    Pretraining(
        arguments.folder,
        arguments.minutes,
        start=arguments.start,
        guidance=arguments.guidance,
        rate=arguments.rate,
    ).train()
