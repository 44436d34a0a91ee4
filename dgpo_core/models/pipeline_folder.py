"""A diffusers pipeline from its folder, or one sentence that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from dgpo_core.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model")


def load_pipeline(folder: Path, pipeline_class: type[DiffusionPipeline], dtype: torch.dtype) -> Any:
    """The pipeline of a folder, weights in dtype; optional text encoders that the folder lacks are left out.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, or of another pipeline.
    """
    _check_folder(folder, pipeline_class.__name__)
    without_t5 = {} if (folder / "text_encoder_3").exists() else {"text_encoder_3": None, "tokenizer_3": None}
    try:
        pipeline = pipeline_class.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, **without_t5
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(
            f"The model in {folder} cannot be loaded: {reason}. Restore the folder or choose another."
        ) from error
    _check_whole(pipeline, folder)
    return pipeline


def _check_folder(folder: Path, pipeline_name: str) -> None:
    """Raises ModelError unless the folder looks like a saved pipeline of that class."""
    index = folder / "model_index.json"
    try:
        parts = {**json.loads(index.read_text(encoding="utf-8"))}
    except OSError as error:
        raise ModelError(
            f"There is no model in {str(folder)[:200]}: it has no model_index.json. Name a folder that holds a "
            "diffusers pipeline, such as assets/shapes-sd3."
        ) from error
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{index} is damaged: it is not a JSON object. Restore the folder or choose another."
        ) from error
    name = parts.get("_class_name")
    if name != pipeline_name:
        raise ModelError(
            f"The model in {folder} is a {name}; only {pipeline_name} can be trained so far. Choose another."
        )
    for tokenizer in (part for part in parts if part.startswith("tokenizer") and parts[part] != [None, None]):
        # Without its files transformers makes an empty tokenizer, for which all prompts are the same.
        if not any((folder / tokenizer / file).is_file() for file in TOKENIZER_FILES):
            raise ModelError(
                f"The model in {folder} cannot be loaded: {tokenizer} has none of {', '.join(TOKENIZER_FILES)}. "
                "Restore the folder or choose another."
            )


def _check_whole(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Raises ModelError where a weight was not in the files, which diffusers only warns of."""
    for part in (pipeline.transformer, pipeline.vae):
        lacking = [name for name, weight in part.named_parameters() if weight.is_meta]
        if lacking:
            raise ModelError(
                f"The model in {folder} cannot be loaded: {len(lacking)} weights are missing, first {lacking[0]}. "
                "Restore the folder or choose another."
            )
