"""What is unwise about a run's base model, as far as its name or the configurations in its folder tell."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dgpo_core.config import RunConfig

FEW_STEP_MARKS = (
    "turbo",
    "schnell",
    "lightning",
    "lcm",
    "hyper",
    "sprint",
    "dmd",
    "dmd2",
    "klein",
    "flash",
    "distilled",
)
NEGATIONS = ("de", "un", "non", "not")
"""What before a mark says the contrary, as in de-distilled; so does base after it, as in klein-base."""
FEW_STEP_SCHEDULERS = (
    "LCMScheduler",
    "FlowMatchLCMScheduler",
    "TCDScheduler",
    "SCMScheduler",
    "CMStochasticIterativeScheduler",
)
"""Those of diffusers that only models distilled to draw in a few steps come with."""
UNDONE = "A loss on noisy pictures undoes the distillation: pictures blur within some hundred steps."
FARTHEST = 1.5
"""By what factor a shift may lie beside those that a family is drawn with before it is told."""


@dataclass(frozen=True)
class Family:
    """What tells whether settings are meant for a family."""

    recipe: str
    """The one that ships for it."""
    sigma_shifts: tuple[float, float]
    """rollout.sigma_shift of its smaller and its own pictures."""
    is_flow: bool = True


FAMILIES = {
    "StableDiffusion3Pipeline": Family("sd35-large", (3.0, 3.0)),
    "StableDiffusionPipeline": Family("sd15", (2.2, 2.2), is_flow=False),
    "StableDiffusionXLPipeline": Family("sdxl", (2.2, 2.2), is_flow=False),
    "FluxPipeline": Family("flux-dev", (1.88, 3.16)),
    "QwenImagePipeline": Family("qwen-image", (1.71, 2.0)),
    "ZImagePipeline": Family("z-image", (3.0, 3.0)),
    "SanaPipeline": Family("sana", (3.0, 3.0)),
    "PixArtSigmaPipeline": Family("pixart-sigma", (3.25, 3.25), is_flow=False),
}
"""By the pipeline that a folder names."""


def cautions_once_fetched(config: RunConfig, folder: Path, described: Path) -> tuple[str, ...]:
    """What to reconsider about a base that was not here when the recipe was checked, in words.

    folder is where it lies now, and described the diffusers folder that describes it, mostly the same.
    """
    here = replace(config, model=replace(config.model, folder=str(folder), parts_from=str(described)))
    rules = [rule for rule in (few_step_base, other_familys_settings) if not rule(config)]
    return tuple(words for words in (rule(here) for rule in rules) if words)


def few_step_base(config: RunConfig) -> str:
    """Before loading only a name is known, in which distilled models say so, and of a folder its configurations."""
    name = config.model.folder.lower().replace("\\", "/").rstrip("/").rpartition("/")[2]
    words = ["", *re.split(r"[^a-z0-9]+", name), ""]
    marks = [
        word
        for before, word, after in zip(words, words[1:], words[2:], strict=False)
        if word in FEW_STEP_MARKS and before not in NEGATIONS and after != "base"
    ]
    if marks:
        return (
            f"model.folder names a {marks[0]} model, one distilled to draw in a few steps. {UNDONE} Choose the model "
            "it was distilled from."
        )
    return next(filter(None, (_few_step_folder(place) for place in _places(config))), "")


def _few_step_folder(place: str) -> str:
    folder = Path(place)
    network = _configuration(folder / "transformer" / "config.json")
    if network.get("_class_name") == "FluxTransformer2DModel" and not network.get("guidance_embeds", False):
        return (
            f"The FLUX.1 in {place} is told no guidance, as FLUX.1-schnell, which was distilled to draw in a few "
            f"steps. {UNDONE} Choose FLUX.1-dev, unless this one's distillation was undone already."
        )
    scheduler = _configuration(folder / "scheduler" / "scheduler_config.json").get("_class_name")
    if scheduler in FEW_STEP_SCHEDULERS:
        return (
            f"The model in {place} has the scheduler {scheduler}, as models have that were distilled to draw in a few "
            f"steps. {UNDONE} Choose the model it was distilled from."
        )
    return ""


def other_familys_settings(config: RunConfig) -> str:
    """Settings that no recipe for the model's family has, such as those of Shapes on FLUX."""
    for place in _places(config):
        index = _configuration(Path(place) / "model_index.json")
        kind = index.get("_class_name")
        if isinstance(kind, str) and kind in FAMILIES and not _is_small_sd3(index):
            return _unlike(FAMILIES[kind], f"The model in {place} is a {kind}", config)
    return ""


def _unlike(family: Family, what: str, config: RunConfig) -> str:
    shift, (low, high) = config.rollout.sigma_shift, family.sigma_shifts
    usual = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if not low / FARTHEST <= shift <= high * FARTHEST:
        return (
            f"{what}, which is drawn with a rollout.sigma_shift of about {usual}, and not {shift:g}. Begin with the "
            f"recipe {family.recipe}, which is for it."
        )
    if not family.is_flow and not config.update.per_sigma:
        return (
            f"{what}, which predicts noise, and the noisiest levels drown the others while update.per_sigma is off. "
            f"Begin with the recipe {family.recipe}, which is for it."
        )
    return ""


def _is_small_sd3(index: dict[str, Any]) -> bool:
    """Whether it is made like the embedded model, whose recipes are the Shapes ones: it has no T5."""
    return index.get("_class_name") == "StableDiffusion3Pipeline" and index.get("text_encoder_3") in (
        [None, None],
        None,
    )


def _places(config: RunConfig) -> list[str]:
    return [place for place in (config.model.folder, config.model.parts_from) if place]


def _configuration(file: Path) -> dict[str, Any]:
    """What a JSON file says; nothing where it is missing or no object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
