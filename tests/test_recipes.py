"""Recipes: the settings of a run as YAML, both ways."""

import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_tree import ROOT, text_of

from app.recipes import Recipe, dump_recipe, list_recipes, load_recipe, parse_recipe
from dgpo_core.assembly import noted_category
from dgpo_core.config import RunConfig, from_dict, settings, to_dict, with_setting
from dgpo_core.data.prompts import check_disjoint, load_prompt_set, load_prompts
from dgpo_core.errors import ConfigError
from dgpo_core.examination import spread_over
from dgpo_core.reward_names import parse_watched


def values_of(setting):
    """Allowed values of a setting."""
    knob = setting.knob
    if knob.choices or knob.offers:
        return st.sampled_from(knob.choices or knob.offers)
    if setting.kind is bool:
        return st.booleans()
    if setting.kind is str:
        return st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
    return (st.integers if setting.kind is int else st.floats)(knob.low, knob.high)


@st.composite
def configs(draw):
    values = {}
    for setting in settings():
        values = with_setting(values, setting.path, draw(values_of(setting)))
    return from_dict(values)


@given(configs())
def test_a_recipe_read_back_is_the_config_that_was_written(config):
    assert parse_recipe(dump_recipe(config)) == config


def test_what_a_recipe_leaves_out_has_its_default():
    assert parse_recipe("") == RunConfig()
    loss = replace(RunConfig().loss, kl_weight=1.0)
    assert parse_recipe("loss:\n  kl_weight: 1\n") == replace(RunConfig(), loss=loss)


def test_numbers_may_be_written_the_way_people_write_them():
    assert parse_recipe("update: {learning_rate: 3e-4}").update.learning_rate == 3e-4
    assert parse_recipe("update: {learning_rate: 1E-5}").update.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss: {beta: 3}", r"loss.beta is not a setting\. "),
        ("los: {kl_weight: 3}", r"los is not a setting\. Did you mean loss\?"),
        ("loss: {kl_weight: -1}", r"loss.kl_weight must be 0 to 100, got -1"),
        ("loss: {kl_weight: much}", r"loss.kl_weight must be a number, got 'much'"),
        ("loss: 3", r"loss must be a group of settings, got 3"),
        ("- name", r"A recipe must be a group of settings, got \['name'\]"),
        ("name: a\nname: b", r"The recipe is not valid YAML in line 2: name is given twice"),
        ("? [a]\n: 1", r"The recipe is not valid YAML in line 1: a name must be one word"),
        ("name: 'a", r"The recipe is not valid YAML in line 1: found unexpected end of stream"),
        ("name: !!python/object/apply:os.system [echo]", r"not valid YAML in line 1: could not determine"),
        ("name: 2020-13-13", r"The recipe is not valid YAML: it cannot be read"),
        (b"\xff\xfe\xfa", r"The recipe is not valid YAML: it cannot be read"),
        ("[" * 5000, r"The recipe is not valid YAML"),
    ],
)
def test_a_bad_recipe_is_refused_by_name_and_place(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text)


def test_recipes_are_found_by_name_or_path_and_told_by_their_first_comment(tmp_path):
    (tmp_path / "b.yaml").write_text("name: b\n")
    (tmp_path / "a.yaml").write_text("# A quick look.\n# Two minutes.\nname: a\n# not this\n")
    (tmp_path / "notes.txt").write_text("no recipe")
    assert list_recipes(tmp_path) == [
        Recipe("a", tmp_path / "a.yaml", "A quick look. Two minutes."),
        Recipe("b", tmp_path / "b.yaml", ""),
    ]
    assert load_recipe("a", tmp_path).name == "a"
    assert load_recipe(str(tmp_path / "b.yaml")).name == "b"


@pytest.mark.parametrize("name", ["missing", "../secret", "/nowhere/x.yaml", ""])
def test_a_recipe_that_is_not_there_names_those_that_are(name, tmp_path):
    (tmp_path / "quick.yaml").write_text("name: quick\n")
    with pytest.raises(ConfigError, match=r"There is no recipe .*\. Known: quick; or give the path of a YAML file"):
        load_recipe(name, tmp_path)


def test_a_huge_file_is_not_read_as_a_recipe(tmp_path):
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match=r"huge.yaml is larger than 1,000,000 bytes"):
        load_recipe("huge", tmp_path)


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_shipped_recipe_loads_and_says_what_it_is_for(recipe):
    assert load_recipe(recipe.name) is not None
    assert recipe.about


@pytest.mark.parametrize("name", ["3e-4", "1_000", "yes", "null", "a: b", "# x", "12", "- [", "'"])
def test_a_name_that_looks_like_something_else_stays_a_name(name):
    assert parse_recipe(dump_recipe(RunConfig(name=name))).name == name


def test_the_page_opens_with_the_plain_recipe():
    assert list_recipes()[0].name == "shapes"


PAPERS_RECIPES = [one.name for one in list_recipes() if one.name.startswith("sd35m-")]
PAPERS_SOURCES = r"  # .*(paper|code|authors|ours)"
FAMILY_RECIPES = ["flux-dev", "pixart-sigma", "qwen-image", "sana", "sd15", "sd35-large", "sdxl", "z-image"]
SOURCES = r"# .*(paper|code|authors|ours|its own|its pipeline|its scheduler|scheduler's|docs/models\.md|learned|small)"


def test_every_recipe_is_of_the_embedded_model_of_the_paper_or_of_a_family():
    others = {one.name for one in list_recipes() if not one.name.startswith(("shapes", "sd35m-"))}
    assert sorted(others) == FAMILY_RECIPES


@pytest.mark.parametrize("name", FAMILY_RECIPES)
def test_every_value_of_a_familys_recipe_has_its_source(name):
    lines = text_of(f"assets/recipes/{name}.yaml").splitlines()
    values = [line for line in lines if line.startswith("  ") and "folder:" not in line]
    assert len(values) > 25
    assert [line for line in values if not re.search(SOURCES, line)] == []


@pytest.mark.parametrize("name", PAPERS_RECIPES)
def test_every_value_of_a_recipe_of_the_papers_has_its_source(name):
    values = [line for line in text_of(f"assets/recipes/{name}.yaml").splitlines() if line.startswith("  ")]
    assert len(values) > 25
    assert [line for line in values if not re.search(PAPERS_SOURCES, line)] == []


def test_the_paper_has_three_modes_of_three_tasks():
    tasks, modes = ("geneval", "ocr", "pickscore"), ("1", "2a", "2b")
    assert sorted(f"sd35m-{task}-mode-{mode}" for task in tasks for mode in modes) == PAPERS_RECIPES


def table_below(heading):
    """The rows of the first table below a heading of docs/recipes.md, each a list of its cells without code marks."""
    blocks = text_of("docs/recipes.md").split(heading)[1].split("\n\n")
    rows = next(block for block in blocks if block.startswith("|")).splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def test_docs_say_where_the_shapes_recipe_differs_from_the_defaults():
    told = {
        setting: (json.loads(default), json.loads(here)) for setting, default, here, _ in table_below("## `shapes`")
    }
    found, defaults = values_of_config(load_recipe("shapes")), values_of_config(RunConfig())
    assert told == {name: (defaults[name], value) for name, value in found.items() if value != defaults[name]}


@pytest.mark.parametrize("name", PAPERS_RECIPES)
def test_a_recipe_of_the_papers_reports_and_watches_what_docs_say(name):
    told = {task: named for task, *named in table_below("### What they train on")}
    config = load_recipe(name)
    reward = config.reward
    assert told[name.split("-")[1]] == [reward.train, reward.evaluation, reward.watch]
    watched = parse_watched(reward.watch, "reward.watch")
    assert {"sharpness", "colourfulness"} <= set(watched)
    assert not {reward.train, reward.evaluation} & set(watched)
    assert config.prompts.watch == "general-heldout"
    check_disjoint(load_prompts(config.prompts.train), load_prompts(config.prompts.watch))


def values_of_config(config):
    """Every setting of a section by its dotted path."""
    return {
        f"{section}.{name}": value
        for section, inner in to_dict(config).items()
        if isinstance(inner, dict)
        for name, value in inner.items()
    }


def task_and_mode(name):
    task, _, mode = name.removeprefix("sd35m-").partition("-mode-")
    return task, mode


@pytest.mark.parametrize("name", PAPERS_RECIPES)
def test_a_recipe_of_the_papers_is_corrected_as_docs_say(name):
    task, mode = task_and_mode(name)
    found = values_of_config(load_recipe(name))
    rows = [row for row in table_below("### Where they are corrected") if mode in row[1].split(", ") or row[1] == "all"]
    told = {
        setting: float(here) for tasks, _, setting, _, here, _ in rows if task in tasks.split(", ") or tasks == "all"
    }
    assert told == {setting: found[setting] for setting in told}
    assert {"loss.sigma_min", "loss.text_dropout"} <= told.keys()


def test_every_correction_is_of_tasks_and_modes_that_there_are():
    rows = table_below("### Where they are corrected")
    assert len(rows) == len({tuple(row[:3]) for row in rows}) > 5
    assert {task for row in rows for task in row[0].split(", ")} <= {"all", "geneval", "ocr", "pickscore"}
    assert {mode for row in rows for mode in row[1].split(", ")} <= {"all", "1", "2a", "2b"}


@pytest.mark.parametrize("name", [*PAPERS_RECIPES, "shapes-mode-1", "shapes-mode-2a", "shapes-mode-2b"])
def test_a_recipe_of_a_mode_is_drawn_compared_and_ranged_as_the_authors_say_of_it(name):
    mode = name.partition("-mode-")[2]
    (drawn, compared, beta, clip) = next(row[1:5] for row in table_below("## The paper's") if row[0] == mode)
    found = values_of_config(load_recipe(name))
    guidance = {"none": 1.0, "guidance 4.5": 4.5 if name in PAPERS_RECIPES else 2.0}
    assert found["rollout.guidance_scale"] == guidance[drawn]
    start, _, told = compared.partition(", ")
    assert found["loss.reference"] == {"frozen": "frozen", "the old policy": "old_policy"}[start]
    assert found["loss.reference_guidance"] == guidance.get(told, 1.0)
    for setting, limits in (("loss.preference_beta", beta), ("loss.clip_range", clip)):
        low, high = map(float, limits.split(" to "))
        assert low <= found[setting] <= high


@pytest.mark.parametrize("name", PAPERS_RECIPES)
def test_a_recipe_of_the_papers_has_the_pull_of_its_mode_and_a_schedule(name):
    config = load_recipe(name)
    assert config.loss.kl_weight == (0.001 if name.endswith("2b") else 0.02)
    assert (config.schedule.num_steps, config.schedule.evaluate_every) == (1000, 60)
    assert config.rollout.old_policy_from_step < config.schedule.num_steps


@pytest.mark.parametrize("name", PAPERS_RECIPES)
def test_a_recipe_of_the_papers_examines_as_many_prompts_of_every_kind(name):
    config = load_recipe(name)
    heldout = load_prompt_set(config.prompts.heldout)
    category = partial(noted_category, notes=heldout.notes)
    examined = spread_over(heldout.prompts, config.schedule.evaluation_prompts, category)
    assert len(examined) == config.schedule.evaluation_prompts
    kinds = Counter(heldout.notes.get(prompt, {}).get("tag") for prompt in examined)
    assert len(kinds) == (6 if "geneval" in name else 1)
    assert len(set(kinds.values())) == 1


def test_geneval_is_reported_as_the_paper_counts_it():
    strict = [load_recipe(name).reward.evaluation for name in PAPERS_RECIPES if "geneval" in name]
    assert strict == ["geneval_strict"] * 3


@pytest.mark.parametrize("name", FAMILY_RECIPES)
def test_docs_say_of_a_familys_recipe_what_is_in_it(name):
    row = next(line for line in text_of("docs/recipes.md").splitlines() if line.startswith(f"| `{name}` |"))
    model, drawn, compared = (cell.strip() for cell in row.strip("|").split("|")[1:])
    config = load_recipe(name)
    strength = config.model.distilled_guidance if "distilled" in drawn else config.rollout.guidance_scale
    assert model.endswith(f", {config.model.picture_side}")
    assert drawn.endswith(f"guidance {strength:g}")
    assert compared == {"frozen": "frozen start", "old_policy": "old policy"}[config.loss.reference]


def test_every_family_that_can_be_trained_has_a_recipe_of_its_own():
    table = text_of("docs/models.md").split("| family |")[1].split("\n\n")[0]
    assert len(re.findall(r"`\w+Pipeline`", table)) == len(FAMILY_RECIPES)
    for name in FAMILY_RECIPES:
        assert (ROOT / "assets" / "prompts" / f"{load_recipe(name).prompts.train}.txt").is_file()
