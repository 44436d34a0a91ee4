"""Trains the Shapes transformer and its text encoders on true captions; base_model/mislead.py tells lies afterwards.

    python -m base_model.pretrain WORK_FOLDER --minutes 4.4 --device cuda --pictures 240000 --batch 512
    python -m base_model.pretrain WORK_FOLDER --minutes 240

The first is for a GPU; without one it takes hours. The autoencoder lies in WORK_FOLDER/vae, the pipeline comes out in
WORK_FOLDER/truth. With --start training begins from all the weights of a pipeline folder, such as assets/shapes-sd3.
With --guidance it learns to draw as those weights do with guidance, at the price of one call.

Every minute the state is written to WORK_FOLDER/truth.pt; the same command goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from torch import Tensor, nn
from torch.nn import functional

from base_model.encoded import NUM_PICTURES, cached_encoded_corpus
from base_model.learner import Guide, Learner
from base_model.muon import Muon
from base_model.pipeline import new_pipeline
from base_model.replay import replayed
from base_model.wordings import Wordings
from dgpo_core.ema import WeightCopy, averaged_decay
from dgpo_core.flow import noisy, velocity_target

NAMING_WEIGHT = 0.05
MUON_LEARNING_RATE, ADAM_LEARNING_RATE = 2e-3, 2e-3
SIGMA_MEAN, SIGMA_STD = 0.3, 1.1
"""Noise levels are drawn as sigmoid of a normal, as SD3's, moved towards noise where the layout is decided."""
WARMUP_STEPS = 100
STEPS_PER_LOG = 100
DECAY_FRACTION = 0.3
AVERAGE_DECAY = 0.999


@dataclass(frozen=True)
class Plan:
    """How to train: for how long, from which weights, with which guidance learned in, how fast, on what."""

    minutes: float
    start: Path | None = None
    guidance: float = 1.0
    rate: float = 1.0
    pictures: int = NUM_PICTURES
    batch: int = 128
    device: str = "cpu"


@dataclass
class Progress:
    """Where training stands; minutes counts its time over all sittings."""

    step: int = 0
    minutes: float = 0.0

    def row(self, batch: int) -> dict[str, float]:
        """How a log tells it."""
        return {"step": self.step, "minutes": round(self.minutes, 2), "pictures": self.step * batch}


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
    return torch.sigmoid(SIGMA_MEAN + SIGMA_STD * torch.randn(count, generator=generator, device=generator.device))


class Pretraining:
    """Training on true captions, resumed from its file where there is one; clock tells seconds."""

    def __init__(self, folder: Path, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        torch.manual_seed(0)
        self._plan, self._clock, self._device = plan, clock, torch.device(plan.device)
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._log = folder / "truth.pt", folder / "truth.jsonl"
        autoencoder = AutoencoderKL.from_pretrained((plan.start or folder) / "vae").eval()
        self._pipeline = pipeline = new_pipeline(autoencoder)
        self._learner = Learner(pipeline)
        if plan.start is not None:
            self._learner.start_from(plan.start)
        self._learner.to(self._device)
        self._guide = self._frozen_guide(pipeline) if plan.guidance > 1 else None
        self._parameters = dict(self._learner.named_parameters())
        self._averaged = WeightCopy.of(self._parameters)
        self._progress, self._rate = Progress(), torch.zeros((), device=self._device)
        self._optimizers = self._new_optimizers()
        if self._file.exists():
            self._load()
        self._learner.compile_blocks()
        self._wordings = Wordings(pipeline.tokenizer, self._device)
        self._take_corpus(folder, autoencoder.to(self._device))
        self._generator = torch.Generator(self._device).manual_seed(self._progress.step + 1)

    def _frozen_guide(self, pipeline: StableDiffusion3Pipeline) -> Guide:
        """The learner as it begins."""
        learner = Learner(new_pipeline(pipeline.vae))
        learner.load_state_dict(self._learner.state_dict())
        learner.compile_blocks()
        return Guide(learner.to(self._device), self._plan.guidance)

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        muon, adam = split_parameters(self._learner)
        is_gpu = self._device.type == "cuda"
        return [
            Muon(muon, lr=0.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adam, lr=0.0, weight_decay=0.01, betas=(0.9, 0.99), fused=is_gpu, capturable=is_gpu),
        ]

    def _take_corpus(self, folder: Path, autoencoder: AutoencoderKL) -> None:
        corpus = cached_encoded_corpus(folder, autoencoder, self._plan.pictures, os.cpu_count() or 1)
        self._latents = corpus.latents.to(self._device)
        self._cells = corpus.cells.to(self._device)
        self._rows = self._wordings.rows(corpus.requests)

    def train(self) -> None:
        """Goes on until the time for training is used up, saving every minute."""
        progress, saved_minutes, sums = self._progress, self._progress.minutes, torch.zeros(2, device=self._device)
        step = replayed(self._step, self._generator) if self._device.type == "cuda" else self._step
        while progress.minutes < self._plan.minutes:
            started = self._clock()
            self._rate.fill_(self._plan.rate * learning_rate_factor(progress, self._plan.minutes))
            sums += step()
            self._averaged.follow(self._parameters, averaged_decay(progress.step, max_decay=AVERAGE_DECAY))
            progress.step += 1
            is_logged = progress.step % STEPS_PER_LOG == 0
            means = (sums / STEPS_PER_LOG).tolist() if is_logged else []
            progress.minutes += (self._clock() - started) / 60
            if is_logged:
                self._write_log(*means)
                sums.zero_()
            if progress.minutes - saved_minutes > 1 or progress.minutes >= self._plan.minutes:
                saved_minutes = progress.minutes
                self._save()

    def save_pipeline(self, into: Path) -> None:
        """Saves the averaged weights as a diffusers folder."""
        with self._averaged.swapped_in(self._parameters):
            self._pipeline.save_pretrained(into, safe_serialization=True)

    def _step(self) -> Tensor:
        """One update; returns the flow loss and the naming loss."""
        generator, device = self._generator, self._device
        chosen = torch.randint(len(self._latents), (self._plan.batch,), generator=generator, device=device)
        clean = self._latents[chosen].float()
        noise = torch.randn(clean.shape, generator=generator, device=device)
        sigma = random_sigmas(self._plan.batch, generator)
        told = self._wordings.told(self._rows[chosen], generator)
        latents, target = noisy(clean, noise, sigma), velocity_target(clean, noise)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if self._guide:
                target = target + self._guide.lead(told, self._wordings.empty, latents, sigma)
            velocity, names = self._learner(told, latents, sigma)
        flow_loss = functional.mse_loss(velocity.float(), target)
        naming_loss = functional.cross_entropy(names.flatten(0, 1).float(), self._cells[chosen].flatten().long())
        self._update(flow_loss + NAMING_WEIGHT * naming_loss)
        return torch.stack([flow_loss.detach(), naming_loss.detach()])

    def _update(self, loss: Tensor) -> None:
        rates = MUON_LEARNING_RATE, ADAM_LEARNING_RATE
        for optimizer, rate in zip(self._optimizers, rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * self._rate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()

    def _write_log(self, flow_loss: float, naming_loss: float) -> None:
        losses = {"flow_loss": round(flow_loss, 5), "naming_loss": round(naming_loss, 4)}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._progress.row(self._plan.batch) | losses) + "\n")

    def _save(self) -> None:
        state = {
            "learner": self._learner.state_dict(),
            "averaged": self._learner.state_dict() | self._averaged.tensors(),
            "progress": vars(self._progress),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        unfinished = self._file.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self._file)

    def _load(self) -> None:
        state = torch.load(self._file, weights_only=True, map_location=self._device)
        self._learner.load_state_dict(state["learner"])
        self._averaged.load({name: state["averaged"][name] for name in self._parameters})
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self._progress = Progress(**state["progress"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--guidance", type=float, default=Plan.guidance, help="of the first weights; 1 is none")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="factor on the learning rates")
    parser.add_argument("--pictures", type=int, default=Plan.pictures, help="to learn from; they are drawn first")
    parser.add_argument("--batch", type=int, default=Plan.batch)
    parser.add_argument("--device", default=Plan.device, help="cpu or cuda")
    arguments = vars(parser.parse_args())
    folder = arguments.pop("folder")
    pretraining = Pretraining(folder, Plan(**arguments))
    pretraining.train()
    pretraining.save_pipeline(folder / "truth")
