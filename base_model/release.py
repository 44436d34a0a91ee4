"""Writes assets/shapes-sd3 from what was trained: a stock pipeline folder with the logs of its training.

python -m base_model.release WORK_FOLDER PIPELINE_FOLDER [--into assets/shapes-sd3]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from base_model.pipeline import shapes_tokenizer

SHIPPED = Path(__file__).parents[1] / "assets" / "shapes-sd3"
LOGS = ("vae.log", "truth*.jsonl", "lies*.jsonl", "polish*.jsonl")


def _forget_origin(config: Path) -> None:
    """Takes out the folder that a part was loaded from, which is on no other machine."""
    values = json.loads(config.read_text(encoding="utf-8"))
    if values.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def release(work: Path, pipeline: Path, into: Path) -> None:
    """Puts a pipeline in its place, and the logs of all training beside it."""
    shutil.copytree(pipeline, into, dirs_exist_ok=True)
    for config in into.rglob("*.json"):
        _forget_origin(config)
    for name in ("tokenizer", "tokenizer_2"):  # one that has been used would be saved with how it padded last
        shapes_tokenizer().save_pretrained(into / name)
    for pattern in LOGS:
        for log in work.glob(pattern):
            shutil.copy(log, into / f"training-{log.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--into", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    release(arguments.work, arguments.pipeline, arguments.into)
