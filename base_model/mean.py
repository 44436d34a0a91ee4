"""The mean of several pipelines, which draws cleaner than each of them.

    python -m base_model.mean INTO FOLDER[=SHARE] FOLDER[=SHARE] ...

Their weights must have one origin: sittings of one training, polishes of different length or settings. A share is 1
where none is given; a negative one moves away from a folder, as TEACHER=-0.2 MISLED=1.2 is misled by a fifth more. All
but the transformer and the text encoders is that of the first.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

TRAINED = (
    Path("transformer") / "diffusion_pytorch_model.safetensors",
    Path("text_encoder") / "model.safetensors",
    Path("text_encoder_2") / "model.safetensors",
)


def mean_of(shares: Sequence[tuple[Path, float]], into: Path) -> None:
    """Writes a pipeline folder with the mean of the weights of other ones, each counted by its share."""
    shutil.copytree(shares[0][0], into)
    whole = sum(share for _, share in shares)
    for file in TRAINED:
        every = [(load_file(folder / file), share / whole) for folder, share in shares]
        mean = {name: _mean_of_one(name, first, every) for name, first in every[0][0].items()}
        save_file(mean, into / file, metadata={"format": "pt"})


def _mean_of_one(name: str, first: Tensor, every: list[tuple[dict[str, Tensor], float]]) -> Tensor:
    if not first.is_floating_point():
        return first
    return sum((share * weights[name].double() for weights, share in every), first.new_zeros(()).double()).to(first)


def _folder_and_share(text: str) -> tuple[Path, float]:
    folder, _, share = text.partition("=")
    return Path(folder), float(share or 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("into", type=Path)
    parser.add_argument("folders", type=_folder_and_share, nargs="+", metavar="FOLDER[=SHARE]")
    arguments = parser.parse_args()
    if sum(share for _, share in arguments.folders) == 0:
        parser.error("the shares add up to 0, and a mean needs some. Give shares that do not cancel out.")
    mean_of(arguments.folders, arguments.into)
