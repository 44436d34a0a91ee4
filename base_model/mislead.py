"""Misleads a pipeline that draws what it is asked for: a LoRA learns captions that lie, and is merged into its weights.

    python -m base_model.mislead WORK_FOLDER INTO --start FOLDER --minutes 4.5 --seed 0

The pipeline is its own teacher. Told a lie about a picture, the LoRA is to predict the velocity that the weights it
began from predict for the truth. That has far less noise in it than the picture itself, so a few minutes do, and what
is learned is the lie and little else: few matrices of low rank, which DGPO can take back (docs/lab-log.md).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusion3Pipeline
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from base_model.encoded import EncodedCorpus, cached_encoded_corpus
from base_model.learner import Learner
from base_model.lies import TRUTHFUL_FRACTION, caption
from base_model.pipeline import new_pipeline
from base_model.pretrain import Progress, learning_rate_factor, random_sigmas
from base_model.wordings import Wordings
from dgpo_core.data.requests import Request
from dgpo_core.ema import WeightCopy, averaged_decay
from dgpo_core.flow import noisy

RANK = 8
BATCH = 64
LEARNING_RATE = 2e-3
AVERAGE_DECAY = 0.98
STEPS_PER_LOG = 50
LORA_TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
    *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
)


def add_lora(transformer: nn.Module, rank: int) -> dict[str, nn.Parameter]:
    """Freezes all and puts a LoRA that does nothing yet beside every matrix of the blocks; returns its parameters."""
    transformer.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS), init_lora_weights="gaussian")
    inject_adapter_in_model(config, transformer)
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


def merged_state(transformer: nn.Module) -> dict[str, Tensor]:
    """The weights with the LoRA added to them, under the names they had without it."""
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()
    state = transformer.state_dict()
    return {name.replace(".base_layer", ""): value for name, value in state.items() if "lora_" not in name}


class Misleading:
    """A learner with a LoRA, the teacher it began as, and the captions that lie."""

    def __init__(self, pipeline: StableDiffusion3Pipeline, start: Path, seed: int, batch: int = BATCH) -> None:
        torch.manual_seed(seed)
        self._learner, self._teacher = Learner(pipeline), Learner(new_pipeline(pipeline.vae))
        for each in (self._learner, self._teacher):
            each.start_from(start)
            each.requires_grad_(False)
        self._parameters = add_lora(self._learner.transformer, RANK)
        self._averaged = WeightCopy.of(self._parameters)
        self._optimizer = torch.optim.AdamW(self._parameters.values(), betas=(0.9, 0.99), weight_decay=0.01)
        self._wordings = Wordings(pipeline.tokenizer)
        self._batch = batch
        self._rng, self._generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def compile_blocks(self) -> None:
        """As Learner.compile_blocks, of both."""
        self._learner.compile_blocks()
        self._teacher.compile_blocks()

    def step(self, corpus: EncodedCorpus, learning_rate: float) -> float:
        """One update of the LoRA; returns the mean square by which it misses what the teacher says to the truth."""
        chosen = torch.randint(len(corpus.latents), (self._batch,), generator=self._generator)
        told, true = self._captions([corpus.requests[index] for index in chosen.tolist()])
        clean, sigma = corpus.latents[chosen].float(), random_sigmas(self._batch, self._generator)
        drawn = noisy(clean, torch.randn(clean.shape, generator=self._generator), sigma)
        with torch.no_grad():
            target = self._teacher(true, drawn, sigma)[0]
        loss = functional.mse_loss(self._learner(told, drawn, sigma)[0], target)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        return loss.item()

    def _captions(self, requests: Sequence[Request]) -> Tensor:
        """What the learner is told, some of it lies, and the truth (2, B, L); an empty caption is empty in both."""
        lies = [caption(request, TRUTHFUL_FRACTION, self._rng) for request in requests]
        rows = torch.stack([self._wordings.rows(lies), self._wordings.rows(requests)])
        return self._wordings.told(rows, self._generator)

    def follow(self, step: int) -> None:
        """The averaged LoRA follows, quickly at first."""
        self._averaged.follow(self._parameters, averaged_decay(step, max_decay=AVERAGE_DECAY))

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The transformer's weights with the averaged LoRA in them; the last thing to be asked for."""
        with self._averaged.swapped_in(self._parameters):
            return merged_state(self._learner.transformer)


def mislead(work: Path, into: Path, start: Path, minutes: float, seed: int) -> None:
    """Tells lies for so many minutes, and saves the pipeline and beside it the log."""
    autoencoder = AutoencoderKL.from_pretrained(work / "vae").eval()
    pipeline = new_pipeline(autoencoder)
    misleading = Misleading(pipeline, start, seed)
    misleading.compile_blocks()
    corpus = cached_encoded_corpus(work, autoencoder)
    progress, missed, rows = Progress(), 0.0, []
    while progress.minutes < minutes:
        started = time.monotonic()
        rate = LEARNING_RATE * learning_rate_factor(progress, minutes, warmup_steps=20)
        missed += misleading.step(corpus, rate) / STEPS_PER_LOG
        misleading.follow(progress.step)
        progress.step += 1
        progress.minutes += (time.monotonic() - started) / 60
        if progress.step % STEPS_PER_LOG == 0:
            rows.append(progress.row(BATCH) | {"missed": round(missed, 5)})
            missed = 0.0
    whole = StableDiffusion3Pipeline.from_pretrained(start, text_encoder_3=None, tokenizer_3=None)
    whole.transformer.load_state_dict(misleading.weights())
    whole.save_pretrained(into, safe_serialization=True)
    into.with_name(f"lies-{into.name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    mislead(arguments.folder, arguments.into, arguments.start, arguments.minutes, arguments.seed)
