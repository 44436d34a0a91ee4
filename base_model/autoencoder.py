"""Trains the Shapes autoencoder: 64 x 64 pictures to 8 x 8 latents of 8 channels and back.

python -m base_model.autoencoder WORK_FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from base_model.corpus import cached_corpus

LATENT_CHANNELS = 8
NUM_PICTURES = 150_000
BATCH = 64
NUM_CROP_STEPS = 5200
NUM_WHOLE_STEPS = 400
NUM_STEPS = NUM_CROP_STEPS + NUM_WHOLE_STEPS
CROP = 32
"""Most steps see crops around things only: a picture is mostly background, which is learnt at once."""
KL_WEIGHT = 5e-5


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder of the stock diffusers class."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def to_model_range(pictures: Tensor) -> Tensor:
    """uint8 (B, 64, 64, 3) to float (B, 3, 64, 64) in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def reconstruction_loss(autoencoder: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Squared plus absolute error, with a little KL to the unit Gaussian; and the squared error alone."""
    latent = autoencoder.encode(pictures).latent_dist
    again = autoencoder.decode(latent.sample()).sample
    squared = functional.mse_loss(again, pictures)
    positions = latent.mean.shape[-1] * latent.mean.shape[-2]
    loss = squared + 0.3 * functional.l1_loss(again, pictures) + KL_WEIGHT * latent.kl().mean() / positions
    return loss, squared.detach()


def crops_around_things(pictures: Tensor, cells: Tensor, generator: torch.Generator) -> Tensor:
    """One CROP x CROP window of each uint8 (B, 64, 64, 3) picture, near an occupied cell of (B, 8, 8)."""
    occupied = (cells > 0).flatten(1).float() + 1e-3
    cell = torch.multinomial(occupied, 1, generator=generator).squeeze(1)
    jitter = torch.randint(-10, 11, (len(pictures), 2), generator=generator)
    corner = torch.stack([cell // 8, cell % 8], dim=1) * 8 + 4 - CROP // 2 + jitter
    corners = corner.clamp(0, pictures.shape[1] - CROP).tolist()
    return torch.stack(
        [picture[top : top + CROP, left : left + CROP] for picture, (top, left) in zip(pictures, corners, strict=True)]
    )


def train_autoencoder(folder: Path) -> AutoencoderKL:
    """Trains, sets scaling_factor and shift_factor from the latents' statistics, saves to folder/vae."""
    torch.manual_seed(0)
    corpus = cached_corpus(folder, NUM_PICTURES, seed=1)
    pictures, cells = torch.from_numpy(corpus.pictures), torch.from_numpy(corpus.cells)
    autoencoder = new_autoencoder()
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=NUM_STEPS, pct_start=0.05)
    generator = torch.Generator().manual_seed(0)
    started = time.monotonic()
    for step in range(NUM_STEPS):
        chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
        batch = pictures[chosen]
        if step < NUM_CROP_STEPS:
            batch = crops_around_things(batch, cells[chosen], generator)
        with torch.autocast("cpu", torch.bfloat16):
            loss, squared = reconstruction_loss(autoencoder, to_model_range(batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == NUM_STEPS - 1:
            print(
                f"step {step} loss {loss:.5f} squared {squared:.5f} seconds {time.monotonic() - started:.0f}",
                flush=True,
            )
        if step % 1000 == 999:
            autoencoder.save_pretrained(folder / "vae-partial")
    autoencoder.eval()
    with torch.no_grad():
        latents = autoencoder.encode(to_model_range(pictures[:2048])).latent_dist.mode()
    autoencoder.register_to_config(
        shift_factor=round(float(latents.mean()), 4), scaling_factor=round(1 / float(latents.std()), 4)
    )
    autoencoder.save_pretrained(folder / "vae")
    return autoencoder


if __name__ == "__main__":
    train_autoencoder(Path(sys.argv[1]))
