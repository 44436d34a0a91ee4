"""The mean of several polished pipelines, which draws cleaner than each of them.

    python -m base_model.mean INTO FOLDER FOLDER [FOLDER ...]

Their weights must have one origin: polishes of different length, or of different settings, of one pipeline. All but the
transformer is that of the first.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = Path("transformer") / "diffusion_pytorch_model.safetensors"


def mean_of(folders: Sequence[Path], into: Path) -> None:
    """Writes a pipeline folder whose transformer has the mean weights of those of the folders."""
    every = [load_file(folder / WEIGHTS) for folder in folders]
    mean = {name: sum(weights[name] for weights in every) / len(every) for name in every[0]}
    shutil.copytree(folders[0], into)
    save_file(mean, into / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("into", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    mean_of(arguments.folders, arguments.into)
