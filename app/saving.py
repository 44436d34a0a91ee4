"""A trained model taken out of the lab: what of a run can be saved, and saving it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.exchange.known_run import known_run
from app.exchange.new_folder import new_folder
from app.saved_models import INDEX_FILE, LORA_FILE, model_name
from app.store.reader import Reader
from app.store.rows import RunRow
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.errors import ExchangeError

if TYPE_CHECKING:
    from dgpo_core.checkpoint import Checkpoint
    from dgpo_core.models.diffusers_model import DiffusersModel

CUT_SHORT = "Saving was cut short; nothing is left of it."
TO_BE_TOLD = ("text_encoder_3", "tokenizer_3")
"""Parts that Stable Diffusion 3 can lack; diffusers loads no pipeline without them that is not told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The averaged weights of a run's checkpoint, wanted as a LoRA or as a whole pipeline."""

    run: RunRow
    step: int
    as_lora: bool

    @property
    def name(self) -> str:
        """What a folder of it is called."""
        return model_name(self.run.id, self.step, as_lora=self.as_lora)

    @property
    def in_words(self) -> str:
        return f"The {'LoRA' if self.as_lora else 'model'} of run {self.run.id} at step {self.step}"


def wish_of(reader: Reader, run_id: int, step: int | None, *, as_lora: bool) -> Wish:
    """What is wanted of a run, of its newest checkpoint where no step is named.

    Raises:
        ExchangeError: there is no such run or checkpoint, or it cannot be saved in this form.
    """
    run = known_run(reader, run_id)
    steps = [one.step for one in reader.checkpoints(run_id)]
    if not steps:
        raise ExchangeError(
            f"Run {run_id} has no checkpoint to save a model from. Train it until it has one, or choose another run."
        )
    if step is not None and step not in steps:
        raise ExchangeError(
            f"Run {run_id} has no checkpoint of step {step}, and only the newest are kept. "
            f"Choose one of {', '.join(map(str, steps))}."
        )
    _check_form(run, as_lora=as_lora)
    return Wish(run=run, step=steps[-1] if step is None else step, as_lora=as_lora)


def _check_form(run: RunRow, *, as_lora: bool) -> None:
    model = from_dict(run.config).model
    if as_lora and model.trained == "all_weights":
        raise ExchangeError(f"Run {run.id} trained all weights, so it has no LoRA. Save the whole pipeline instead.")
    if not as_lora and model.quantization != "none":
        raise ExchangeError(
            f"Run {run.id} trained beside quantized weights (model.quantization is {model.quantization}), which a LoRA "
            "cannot be merged into. Save the LoRA instead."
        )


def save_model(wish: Wish, checkpoints: Path, into: Path) -> None:
    """Writes what is wanted as a new folder, from a model that is loaded into main memory for it.

    A run that is live trains on: its checkpoint is read first, before the run may drop it.

    Raises:
        LabError: the folder is not new or cannot be written, or the checkpoint or the base model cannot be used.
    """
    from dgpo_core.comparison import checkpoint_at, weights_from

    with new_folder(into) as unfinished:
        saved = checkpoint_at(checkpoints, wish.step)
        model = _model_of(from_dict(wish.run.config), saved)
        weights = weights_from(saved.tensors, model)
        del saved
        with weights.swapped_in(model.policy_parameters()):
            write = model.save_lora if wish.as_lora else model.save_merged
            write(unfinished)


def _model_of(config: RunConfig, saved: Checkpoint) -> DiffusersModel:
    """The model of a checkpoint, fresh and whole: with its text encoders, and with its frozen weights unquantized."""
    from dgpo_core.assembly import load_model
    from dgpo_core.checkpoint import check_identity

    whole = replace(config, model=replace(config.model, quantization="none"))
    model = load_model(whole, device="cpu")
    identity = dict(model.identity())
    if whole != config:
        identity["transformer"] = saved.identity.get("transformer", "")  # told from quantized numbers, which differ
    check_identity(f"step-{saved.step:06d}", saved.identity, identity)
    return model


def saved_in_words(wish: Wish, folder: Path) -> str:
    """Where the model is now, and how it is used."""
    place = f"{wish.in_words} is in {folder}. In Python, "
    if wish.as_lora:
        return f'{place}pipeline.load_lora_weights({str(folder)!r}, weight_name="{LORA_FILE}") puts it on its base.'
    index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    told = [f"{part}=None" for part in TO_BE_TOLD if index.get(part) == [None, None]]
    call = f"DiffusionPipeline.from_pretrained({', '.join([repr(str(folder)), *told])})"
    return f"{place}{call} loads it{'; draw with max_sequence_length=0, as the lab does without T5' if told else ''}."
