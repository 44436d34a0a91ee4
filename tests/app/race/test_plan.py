import json
from dataclasses import replace

import pytest

from app.race.plan import checked_plan, list_races, load_race, plan_of
from app.recipes import load_recipe
from dgpo_core.config import to_dict
from dgpo_core.errors import ConfigError
from dgpo_core.recipe_check import cautions

SMALL = {"recipe": "shapes", "target": 0.5, "seeds": [0, 1], "learning_rates": [1e-4, 1e-3], "entrants": {"dgpo": {}}}


@pytest.mark.parametrize("name", list_races())
def test_what_ships_can_be_run(name):
    assert load_race(name).name == name


def test_the_race_of_the_rivals_is_sound():
    plan = load_race("shapes")
    for entrant in plan.entrants:
        config = plan.config_of(entrant, learning_rate=plan.learning_rates[0], seed=0)
        assert cautions(config) == ()


FACTORS = {
    "ODE against SDE rollouts": "rollout.sampler",
    "sigma_min": "loss.sigma_min",
    "shared noise": "loss.shared_noise",
    "advantage weights against uniform weights": "loss.uniform_weights",
    "beta": "loss.preference_beta",
    "group size": "rollout.group_size",
    "middle pictures": "loss.extremes",
    "clip": "loss.clip_range",
    "dual clip": "loss.dual_clip",
    "KL": "loss.kl_weight",
    "offline against online": "rollout.stored_groups",
    "frozen reference": "loss.reference",
    "EMA reference": "update.old_policy_decay",
    "updates per rollout": "update.per_sigma",
}
UNWISE_ABLATIONS = {
    "SDE rollouts": "draws worse pictures than an ODE sampler",
    "no dual clip": "loss.dual_clip = 0",
}


@pytest.mark.parametrize("factor", FACTORS)
def test_the_ablations_change_every_factor(factor):
    plan, recipe = load_race("ablations"), dict(paths_of(load_recipe("shapes")))
    tried = [value for one in plan.entrants for path, value in one.changes if path == FACTORS[factor]]
    assert [value for value in tried if value != recipe[FACTORS[factor]]]


def paths_of(config):
    """Every setting of a config by its dotted path."""
    for name, value in to_dict(config).items():
        yield from ((f"{name}.{inner}", one) for inner, one in value.items()) if isinstance(value, dict) else ()


def test_the_ablations_are_sound_but_for_those_that_leave_out_what_is_wise():
    plan = load_race("ablations")
    found = {}
    for entrant in plan.entrants:
        config = plan.config_of(entrant, learning_rate=plan.learning_rates[0], seed=0)
        if words := cautions(config):
            found[entrant.name] = words
    assert found.keys() == UNWISE_ABLATIONS.keys()
    assert all(len(words) == 1 and UNWISE_ABLATIONS[name] in words[0] for name, words in found.items())


def test_a_plan_survives_being_stored():
    plan = plan_of(SMALL, "small")
    assert plan_of(json.loads(json.dumps(plan.as_dict())), "small") == plan


OFFLINE = {"entrants": {"dgpo": {}, "offline": {"rollout.stored_groups": "groups"}}}
DRAWN = {"prepare": {"groups": {"schedule.num_steps": 3}}}


def test_what_is_prepared_is_stored_with_the_plan_and_draws_with_the_base():
    plan = checked_plan(SMALL | OFFLINE | DRAWN, "small")
    assert plan_of(json.loads(json.dumps(plan.as_dict())), "small") == plan
    config = plan.drawing_config(plan.preparations[0])
    assert (config.schedule.num_steps, config.update.learning_rate, config.name) == (3, 0.0, "small: groups for groups")
    assert config.rollout == load_recipe("shapes").rollout


def test_a_plan_with_some_of_the_entrants_prepares_for_these_alone():
    plan = plan_of(SMALL | OFFLINE | DRAWN, "small")
    assert "prepare" not in replace(plan, entrants=plan.entrants[:1]).as_dict()
    assert "prepare" not in plan_of(SMALL, "small").as_dict()


def test_the_ablations_need_nothing_done_before():
    plan = load_race("ablations")
    learned = {value for one in plan.entrants for path, value in one.changes if path == "rollout.stored_groups"}
    assert learned == {one.folder for one in plan.preparations}


def test_an_entrant_is_the_recipe_with_its_changes_and_the_races_seed_and_rate():
    plan = plan_of(SMALL | {"entrants": {"nft": {"algorithm.name": "diffusion_nft"}}, "examined_prompts": 7}, "small")
    config = plan.config_of(plan.entrants[0], learning_rate=1e-3, seed=5)
    assert (config.algorithm.name, config.update.learning_rate, config.seed) == ("diffusion_nft", 1e-3, 5)
    assert config.schedule.evaluation_prompts == 7
    assert config.name == "small: nft, rate 0.001, seed 5"


@pytest.mark.parametrize(("own", "steps"), [("", 8), ("schedule: {evaluation_sampling_steps: 16}", 16)])
def test_who_draws_in_more_steps_is_examined_in_as_many_as_all(tmp_path, own, steps):
    recipe = tmp_path / "own.yaml"
    recipe.write_text("rollout: {num_sampling_steps: 8}\n" + own)
    entrants = {"dgpo": {}, "finer": {"rollout.num_sampling_steps": 20}}
    plan = plan_of(SMALL | {"recipe": str(recipe), "entrants": entrants}, "small")
    configs = [plan.config_of(one, learning_rate=1e-3, seed=0) for one in plan.entrants]
    assert [one.rollout.num_sampling_steps for one in configs] == [8, 20]
    assert [one.schedule.evaluation_sampling_steps for one in configs] == [steps, steps]


def test_who_draws_with_noise_is_examined_without_as_all_are_whose_recipe_has_euler():
    entrants = {"sde": {"rollout.sampler": "flow_sde"}, "cps": {"rollout.sampler": "flow_cps"}}
    assert [one.name for one in checked_plan(SMALL | {"entrants": entrants}, "small").entrants] == ["sde", "cps"]


def test_who_draws_with_noise_is_refused_where_the_recipe_examines_with_another_sampler_than_euler(tmp_path):
    recipe = tmp_path / "heun.yaml"
    recipe.write_text("rollout: {sampler: heun}")
    values = SMALL | {"recipe": str(recipe), "entrants": {"sde": {"rollout.sampler": "flow_sde"}}}
    with pytest.raises(ConfigError, match=r"Entrant sde: its examinations .* rollout\.sampler euler, .* with heun\."):
        checked_plan(values, "small")


def test_no_entrant_pauses_at_an_alarm_since_nobody_would_resume_it(tmp_path):
    recipe = tmp_path / "pausing.yaml"
    recipe.write_text("reward: {on_alarm: pause}")
    values = SMALL | {"recipe": str(recipe), "prepare": {"groups": {}}}
    plan = plan_of(values | {"entrants": {"dgpo": {"rollout.stored_groups": "groups"}}}, "small")
    assert plan.config_of(plan.entrants[0], learning_rate=1e-3, seed=0).reward.on_alarm == "warn"
    assert plan.drawing_config(plan.preparations[0]).reward.on_alarm == "warn"


def test_without_a_grid_the_rate_is_the_recipes():
    values = {key: value for key, value in SMALL.items() if key != "learning_rates"}
    plan = plan_of(values, "small")
    assert plan.learning_rates == (load_recipe("shapes").update.learning_rate,)
    assert plan.is_rate_the_recipes
    assert not plan_of(SMALL, "small").is_rate_the_recipes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"entrants": {}}, "entrants must be names, each with its settings"),
        ({"entrants": {"a\nb": {}}}, "name must be 1 to 60 printable characters"),
        ({"entrants": {"dgpo": 3}}, "Entrant dgpo must have settings such as"),
        ({"entrants": {"dgpo": {1: 2}}}, "Entrant dgpo names the setting 1. Name one such as"),
        ({"entrants": {"dgpo": {"loss.beta": 3}}}, "Entrant dgpo: loss.beta is not a setting"),
        ({"entrants": {"grpo": {"algorithm.name": "flow_grpo"}}}, "Entrant grpo: algorithm.name is flow_grpo, which"),
        ({"entrants": {"dgpo": {"loss.kl_weight": -1}}}, "Entrant dgpo: loss.kl_weight must be 0 to 100, got -1"),
        (
            {"entrants": {"dgpo": {"update.learning_rate": 1e-4}}},
            "Entrant dgpo: update.learning_rate is the race's to set. Name the rates to try in learning_rates.",
        ),
        ({"entrants": {"dgpo": {"name": "mine"}}}, "Entrant dgpo: name is the race's to set. Leave it out."),
        (
            {"entrants": {"dgpo": {"reward.evaluation": "brightness"}}},
            "Entrant dgpo: reward.evaluation is the race's to set. All are examined alike; change it in the recipe.",
        ),
        ({"seeds": []}, "seeds must be whole numbers"),
        ({"seeds": [1, 1]}, "seeds must be whole numbers from 0 up, each once, got [1, 1]"),
        ({"seeds": [True]}, "seeds must be whole numbers"),
        ({"learning_rates": [0]}, "learning_rates must be numbers above 0"),
        ({"learning_rates": "1e-4"}, "learning_rates must be numbers above 0"),
        ({"minutes": 0}, "minutes must be 0.01 to 100000, got 0"),
        ({"laps": 3}, "laps is not a setting"),
        (
            {"target": 0},
            "against is 'flow_grpo', which is no entrant of the race small: dgpo. Name one of them, or give",
        ),
        ({"recipe": "none"}, "There is no recipe 'none'"),
        (DRAWN, "prepare names the folder 'groups', from which no entrant learns. Set an entrant's"),
        ({"prepare": ["groups"]}, "prepare must be folders, each with the settings of the run"),
        (OFFLINE | {"prepare": {"groups": 3}}, "prepare must be folders, each with the settings of the run"),
        (OFFLINE | {"prepare": {"groups": {"loss.beta": 3}}}, "prepare groups: loss.beta is not a setting"),
        (
            OFFLINE | {"prepare": {"groups": {"update.learning_rate": 1e-4}}},
            "prepare groups: update.learning_rate is the race's to set. Leave it out.",
        ),
        (OFFLINE | {"prepare": {"groups": {5: 1}}}, "prepare names the setting 5. Name one such as schedule.num_steps"),
        (
            {"entrants": {"dgpo": {"rollout.sampler": "heun"}}},
            "Entrant dgpo: its examinations would be drawn with rollout.sampler heun, and those of the recipe are with "
            "euler. All are examined alike; leave it out, or change it in the recipe.",
        ),
        (
            {"entrants": {"dgpo": {"rollout.guidance_scale": 4.0}}},
            "Entrant dgpo: its examinations would be drawn with rollout.guidance_scale 4.0, and those of the recipe",
        ),
        (
            {"entrants": {"dgpo": {"rollout.sigma_shift": 3.0}}},
            "Entrant dgpo: its examinations would be drawn with rollout.sigma_shift 3.0, and those of the recipe",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_a_sentence(changes, words):
    with pytest.raises(ConfigError) as refused:
        checked_plan(SMALL | changes, "small")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no race 'marathon'\. Known: ablations, shapes; or"):
        load_race("marathon")
    with pytest.raises(ConfigError, match=r"There is no race 'entrants: .{70}'\. Known"):
        load_race("entrants: " * 40)
    broken = tmp_path / "broken.yaml"
    broken.write_text("entrants: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not valid YAML in line 1"):
        load_race(str(broken))
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="The race broken must be a group of settings"):
        load_race(str(broken))
