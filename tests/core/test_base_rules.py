"""What is said of a run's base before a run, and once more when it was fetched."""

import json
import re

import pytest
from project_tree import text_of
from small_families import FAMILIES as SMALL
from small_families import save_small_family

from app.recipes import load_recipe
from dgpo_core.base_rules import FAMILIES, FEW_STEP_SCHEDULERS, cautions_once_fetched
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import FAMILIES as ADAPTERS
from dgpo_core.recipe_check import cautions

SD35_MEDIUM = "sd35m-geneval-mode-2b"
"""Of the same pipeline as Stable Diffusion 3.5 Large, which has a recipe of its own."""


@pytest.mark.parametrize(
    ("name", "is_few_step"),
    [
        ("stabilityai/stable-diffusion-3.5-large-turbo", True),
        ("black-forest-labs/FLUX.1-schnell", True),
        ("models/Sana_Sprint_1.6B", True),
        ("ByteDance/SDXL-Lightning", True),
        ("stabilityai/stable-diffusion-3.5-medium", False),
        ("black-forest-labs/FLUX.1-dev", False),
        ("turbo-lab/stable-diffusion", False),
        ("black-forest-labs/FLUX.2-klein-4B", True),
        ("black-forest-labs/FLUX.2-klein-base-4B", False),
        ("stable-diffusion-xl-base-1.0-lightning", True),
        ("nyanko7/flux-dev-de-distilled", False),
    ],
)
def test_few_step_bases_are_recognised_by_their_name(name, is_few_step):
    config = RunConfig(model=ModelConfig(folder=name))
    assert any("distilled to draw in a few steps" in words for words in cautions(config)) == is_few_step


def test_a_flux_that_is_told_no_guidance_is_recognised_by_its_configuration(tmp_path):
    folder = save_small_family("flux", tmp_path / "mine")

    def words_of(**settings):
        return [words for words in cautions(RunConfig(model=ModelConfig(**settings))) if "in a few steps" in words]

    assert words_of(folder=str(folder)) == []
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"guidance_embeds": true', '"guidance_embeds": false'))
    expected = [
        f"The FLUX.1 in {folder} is told no guidance, as FLUX.1-schnell, which was distilled to draw in a few steps. A "
        "loss on noisy pictures undoes the distillation: pictures blur within some hundred steps. Choose FLUX.1-dev, "
        "unless this one's distillation was undone already."
    ]
    assert words_of(folder=str(folder)) == expected
    assert words_of(folder="mine.safetensors", parts_from=str(folder)) == expected
    config.write_text("[")
    assert words_of(folder=str(folder)) == []


def folder_of(place, pipeline, **parts):
    """A folder that names a pipeline, and the configurations of its parts."""
    place.mkdir()
    for part, (name, configuration) in parts.items():
        (place / part).mkdir()
        (place / part / name).write_text(json.dumps(configuration))
    index = {"_class_name": pipeline, "text_encoder_3": ["transformers", "T5EncoderModel"]}
    (place / "model_index.json").write_text(json.dumps(index))
    return place


@pytest.mark.parametrize("scheduler", FEW_STEP_SCHEDULERS)
def test_a_scheduler_that_draws_in_a_few_steps_is_recognised(scheduler, tmp_path):
    schedule = ("scheduler_config.json", {"_class_name": scheduler})
    folder = folder_of(tmp_path / "mine", "StableDiffusionPipeline", scheduler=schedule)
    (words,) = cautions(from_dict({"model": {"folder": str(folder)}, "rollout": {"sigma_shift": 2.2}}))
    assert words.startswith(f"The model in {folder} has the scheduler {scheduler}, as models have that were distilled")


def test_what_was_not_known_before_is_said_once_it_is_fetched(tmp_path):
    network = ("config.json", {"_class_name": "FluxTransformer2DModel", "guidance_embeds": False})
    folder = folder_of(tmp_path / "mine", "FluxPipeline", transformer=network)
    innocent = RunConfig(model=ModelConfig(folder="owner/mine"))
    few_step, settings = cautions_once_fetched(innocent, folder, folder)
    assert "is told no guidance, as FLUX.1-schnell" in few_step
    assert "Begin with the recipe flux-dev" in settings
    told = RunConfig(model=ModelConfig(folder="owner/mine-schnell"))
    assert cautions_once_fetched(told, folder, folder) == (settings,)


@pytest.mark.parametrize("pipeline", FAMILIES)
def test_the_settings_of_shapes_are_not_those_of_another_family(pipeline, tmp_path):
    folder = folder_of(tmp_path / "mine", pipeline)
    (words,) = cautions(RunConfig(model=ModelConfig(folder=str(folder))))
    family, shift = FAMILIES[pipeline], f"{FAMILIES[pipeline].sigma_shifts[0]:g}"
    assert words.startswith(
        f"The model in {folder} is a {pipeline}, which is drawn with a rollout.sigma_shift of about"
    )
    assert shift in words
    assert words.endswith(f"and not 1. Begin with the recipe {family.recipe}, which is for it.")


def test_settings_of_a_flow_are_not_those_of_a_network_that_predicts_noise(tmp_path):
    folder = folder_of(tmp_path / "mine", "StableDiffusionXLPipeline")
    values = {"model": {"folder": str(folder)}, "rollout": {"sigma_shift": 3.0}, "update": {"per_sigma": False}}
    assert any("the noisiest levels drown the others" in words for words in cautions(from_dict(values)))


@pytest.mark.parametrize("pipeline", FAMILIES)
def test_a_familys_own_recipe_is_sound_for_it(pipeline, tmp_path):
    family = FAMILIES[pipeline]
    recipe = load_recipe(family.recipe)
    low, high = family.sigma_shifts
    assert low <= recipe.rollout.sigma_shift <= high
    assert recipe.update.per_sigma is not family.is_flow
    folder = folder_of(tmp_path / "mine", pipeline)
    assert cautions_once_fetched(recipe, folder, folder) == ()


def test_every_family_that_can_be_trained_has_its_recipe():
    assert FAMILIES.keys() == ADAPTERS.keys()
    recipes = [family.recipe for family in FAMILIES.values()]
    assert {small.recipe for small in SMALL.values()} == {*recipes, SD35_MEDIUM}


def test_docs_name_the_recipe_of_every_family():
    rows = re.findall(r"\| `(\w+Pipeline)` \| `([\w-]+)` \|", text_of("docs/models.md"))
    assert dict(rows) == {pipeline: family.recipe for pipeline, family in FAMILIES.items()}


def test_the_embedded_model_is_at_home_with_shapes(model_folder):
    assert cautions(RunConfig(model=ModelConfig(folder=str(model_folder)))) == ()
