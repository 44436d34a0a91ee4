"""Before and after: the same prompts and seeds drawn by the base and by a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from dgpo_core.checkpoint import Checkpoint, load_checkpoint
from dgpo_core.config import RolloutConfig
from dgpo_core.ema import WeightCopy
from dgpo_core.errors import CheckpointError
from dgpo_core.events import Compare, ComparisonDone, Drawing
from dgpo_core.examination import Examiner, spread_over
from dgpo_core.models.protocol import Model
from dgpo_core.samplers import OnStep
from dgpo_core.training_state import part_of


def averaged_weights(folder: Path, step: int, model: Model) -> WeightCopy:
    """The averaged weights of the checkpoint of a step.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged or of another model.
    """
    return weights_from(checkpoint_at(folder, step, model.identity()).tensors, model)


def checkpoint_at(folder: Path, step: int, identity: Mapping[str, str | int] | None = None) -> Checkpoint:
    """The checkpoint of a step, as load_checkpoint() gives it.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged or of another model.
    """
    found = folder / f"step-{step:06d}"
    if not found.is_dir():
        raise CheckpointError(
            f"There is no checkpoint of step {step} any more: only the newest are kept. Choose a newer one."
        )
    return load_checkpoint(found, identity)


def weights_from(tensors: Mapping[str, Tensor], model: Model) -> WeightCopy:
    """The averaged weights among a checkpoint's tensors."""
    copy = WeightCopy.of(model.policy_parameters())
    copy.load(part_of(tensors, "averaged"))
    return copy


def drawn_as(drawing: Drawing, rollout: RolloutConfig) -> RolloutConfig:
    """The run's own way to draw, but for what the drawing names."""
    return replace(rollout, **{name: value for name, value in asdict(drawing).items() if value is not None})


def compare(
    examiner: Examiner,
    prompts: Sequence[str],
    request: Compare,
    *,
    weights: WeightCopy,
    step: int,
    on_step: OnStep | None = None,
) -> ComparisonDone:
    """The request's pictures from the base and with the weights, which are those of step."""
    examiner = replace(examiner, rollout=drawn_as(request.drawing, examiner.rollout))
    chosen = spread_over(prompts, request.num_prompts, examiner.category_of)
    before = examiner.draw(chosen, seed=request.seed, weights=None, on_step=on_step)
    after = examiner.draw(chosen, seed=request.seed, weights=weights, on_step=on_step)
    return ComparisonDone(request_id=request.request_id, step=step, before=before, after=after)
