from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recipes import list_recipes, load_recipe
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.errors import ConfigError
from dgpo_core.idle_settings import ASK_A_MODEL
from dgpo_core.recipe_check import RULES, cautions, check
from dgpo_core.rewards.memory import CLASSES, JUDGE
from dgpo_core.schedules import linear_sigmas, training_sigmas
from dgpo_core.seeds import generator_for

UNWISE = {
    "names a turbo model": {"model": {"folder": "models/sd3.5-large-turbo"}},
    "loss.reference to old_policy": {"loss": {"reference": "frozen"}},
    "the gate never closes": {"loss": {"preference_beta": 10.0}},
    "loss.extremes = 12 does nothing": {"loss": {"extremes": 12}},
    "Groups of 4": {"rollout": {"group_size": 4}},
    "clip_range = 0.05": {"loss": {"clip_range": 0.05}},
    "small for a reference that is an average": {
        "loss": {"preference_beta": 500.0},
        "update": {"old_policy_decay": 0.3},
    },
    "not moved from the one that drew": {
        "algorithm": {"name": "flow_grpo"},
        "rollout": {"sampler": "flow_sde"},
        "update": {"per_sigma": False},
    },
    "update.old_policy_decay does nothing": {
        "algorithm": {"name": "reward_weighted"},
        "rollout": {"old_policy_from_step": 600},
        "update": {"old_policy_decay": 0.3},
    },
    "rollout.old_policy_from_step = 600 is never reached": {
        "rollout": {"old_policy_from_step": 600},
        "update": {"old_policy_decay": 0.3},
    },
    "loss.advantage_std, loss.advantage_clip do nothing: with loss.uniform_weights": {
        "loss": {"uniform_weights": True, "advantage_std": "batch", "advantage_clip": 2.0},
    },
    "loss.advantage_std, loss.extremes do nothing: algorithm.name is diffusion_dpo": {
        "algorithm": {"name": "diffusion_dpo"},
        "loss": {"advantage_std": "batch", "extremes": 4},
    },
    "people.clip_folder does nothing: people.weight is 0": {"people": {"clip_folder": "clip"}},
    "people.preference does nothing": {"people": {"preference": "lab/preferences/1/version-1"}},
    "prompts.watch does nothing: no reward is watched": {"prompts": {"watch": "general-heldout"}},
    "model.lora_rank, model.lora_alpha, model.lora_targets do nothing: all weights": {
        "model": {"trained": "all_weights", "lora_rank": 8, "lora_alpha": 16, "lora_targets": "attention"},
    },
    "reward.server, reward.server_model do nothing: none of the run's rewards": {
        "reward": {"server": "http://127.0.0.1:8000", "server_model": "judge"},
    },
    "reward.server_model does nothing: none of the run's rewards reads it": {
        "reward": {"watch": "remote", "server": "http://127.0.0.1:8000", "server_model": "judge"},
    },
    "loss.reference does nothing: at loss.preference_beta 0": {
        "loss": {"preference_beta": 0.0, "reference": "frozen"},
    },
    "loss.reference_guidance does nothing: the frozen start is not used": {
        "loss": {
            "preference_beta": 0.0,
            "reference": "frozen",
            "reference_guidance": 4.5,
            "kl_weight": 0.0,
            "dual_clip": 0.0,
        },
    },
    "people.groups_asked = 8 does nothing": {"people": {"weight": 1, "groups_asked": 8}},
    "loss.reference_guidance does nothing: the frozen start": {
        "algorithm": {"name": "diffusion_nft"},
        "loss": {"reference_guidance": 4.5, "kl_weight": 0.0},
    },
    "loss.clip_kl does nothing: it takes the pull": {"loss": {"clip_kl": True, "clip_range": 0.0}},
    "loss.clip_kl does nothing: loss.clip_range clips no": {"update": {"per_sigma": False}, "loss": {"clip_kl": True}},
    "loss.clip_range does nothing": {"update": {"per_sigma": False}},
    "or turn update.per_sigma on.": {"update": {"per_sigma": False}},
    "or raise loss.num_sigmas.": {"loss": {"num_sigmas": 1}},
    "or raise loss.num_sigmas and turn update.per_sigma on.": {
        "loss": {"num_sigmas": 1},
        "update": {"per_sigma": False},
    },
    "update.per_sigma does nothing: there is one": {"loss": {"num_sigmas": 1}, "update": {"per_sigma": False}},
    "reward.train does nothing: people.weight is 1": {
        "people": {"weight": 1, "without_label": "skip"},
        "reward": {"train": "brightness"},
    },
    "rollout.noise_level, people.weight, people.wait_seconds do nothing: the groups": {
        "rollout": {"stored_groups": "groups", "sampler": "flow_sde", "noise_level": 0.3},
        "people": {"weight": 1, "wait_seconds": 60},
    },
    "measured against it. Set it to 0.": {
        "rollout": {"stored_groups": "groups"},
        "loss": {"reference": "frozen", "reference_guidance": 4.5, "clip_range": 0.0},
        "update": {"old_policy_decay": 0.3},
    },
    "loss.reference_every does nothing: the frozen reference is not": {
        "algorithm": {"name": "flow_grpo"},
        "rollout": {"sampler": "flow_sde"},
        "loss": {"reference_every": 10, "kl_weight": 0.0, "kl_below": 0.1},
    },
    "loss.preference_beta does nothing": {"loss": {"num_sigmas": 1}},
    "every gate is one half": {"algorithm": {"name": "diffusion_dpo"}, "update": {"per_sigma": False}},
    "loss.reference_guidance does nothing": {
        "loss": {"reference_guidance": 4.5, "kl_weight": 0.0, "dual_clip": 0.0},
    },
    "loss.reference_guidance does nothing: algorithm.name is flow_grpo": {
        "algorithm": {"name": "flow_grpo"},
        "rollout": {"sampler": "flow_sde", "guidance_scale": 4.5},
        "loss": {"reference_guidance": 4.5, "kl_weight": 0.04},
    },
    "loss.reference_guidance = 4.5 is added anew with each reference": {
        "loss": {"reference": "frozen", "reference_guidance": 4.5, "reference_every": 40},
    },
    "loss.reference_every does nothing: the frozen reference": {
        "algorithm": {"name": "diffusion_nft"},
        "loss": {"reference_every": 40, "kl_weight": 0.0},
    },
    "loss.reference_every = 20 does nothing: the run has 20 steps": {
        "loss": {"reference_every": 20},
        "schedule": {"num_steps": 20, "evaluate_every": 10},
    },
    "loss.dual_clip = 0 leaves nothing": {"loss": {"dual_clip": 0.0}},
    "loss.preference_beta = 0 no gate ever closes": {"loss": {"dual_clip": 0.0, "preference_beta": 0.0}},
    "Nothing bounds how far diffusion_dpo": {"algorithm": {"name": "diffusion_dpo"}, "loss": {"kl_weight": 0.0}},
    "loss.kl_below does nothing: loss.sigma_min": {"loss": {"kl_below": 1.0, "sigma_min": 0.0}},
    "loss.kl_on_alike does nothing: loss.kl_weight is 0": {"loss": {"kl_on_alike": True, "kl_weight": 0.0}},
    "loss.kl_on_alike does nothing: algorithm.name is flow_grpo": {
        "algorithm": {"name": "flow_grpo"},
        "rollout": {"sampler": "flow_sde"},
        "loss": {"kl_on_alike": True},
    },
    "old_policy_from_step does nothing": {"rollout": {"old_policy_from_step": 200}},
    "learning_rate = 0.01": {"update": {"learning_rate": 0.01}},
    "loss.preference_beta does nothing: algorithm.name": {
        "algorithm": {"name": "diffusion_nft"},
        "loss": {"preference_beta": 100.0},
    },
    "algorithm.nft_strength, algorithm.temperature do nothing": {
        "algorithm": {"nft_strength": 0.5, "temperature": 2.0}
    },
    "noise_level does nothing": {"rollout": {"noise_level": 0.3}},
    "dgpo does not need its noise": {"rollout": {"sampler": "flow_sde"}},
    "prompts.train, rollout.group_size do nothing": {
        "prompts": {"train": "mine.txt"},
        "rollout": {"stored_groups": "groups", "group_size": 24},
    },
    "people.without_label, people.groups_asked do nothing": {"people": {"groups_asked": 2, "without_label": "model"}},
    "evaluate_every = 50": {"schedule": {"num_steps": 20, "evaluate_every": 50}},
}
SOUND = [
    {},
    {"loss": {"reference": "frozen", "reference_guidance": 4.5}},
    {"loss": {"reference": "frozen"}, "rollout": {"guidance_scale": 4.5}},
    {"loss": {"clip_range": 0.0, "reference": "frozen", "reference_guidance": 2.0}, "update": {"per_sigma": False}},
    {"loss": {"kl_weight": 0.1, "reference_guidance": 4.5}},
    {"loss": {"reference_every": 40}},
    {"algorithm": {"name": "diffusion_nft"}, "loss": {"reference_every": 40, "kl_weight": 0.0, "kl_below": 0.1}},
    {"update": {"per_sigma": False, "inner_epochs": 2}},
    {"algorithm": {"name": "flow_grpo"}, "rollout": {"sampler": "flow_sde", "noise_level": 0.5}},
    {"algorithm": {"name": "diffusion_nft", "nft_strength": 0.1}},
    {"algorithm": {"name": "diffusion_dpo"}, "loss": {"preference_beta": 100.0}},
    {"algorithm": {"name": "diffusion_dpo"}, "loss": {"reference": "frozen", "kl_weight": 0.0}},
    {"algorithm": {"name": "reward_weighted", "temperature": 0.3}, "loss": {"kl_weight": 0.0}},
    {
        "loss": {"preference_beta": 2000.0},
        "rollout": {"old_policy_from_step": 200},
        "update": {"old_policy_decay": 0.3},
    },
    {"algorithm": {"name": "reward_weighted"}, "update": {"old_policy_decay": 0.3}},
    {"loss": {"clip_range": 0.03, "clip_kl": True}},
    {"loss": {"uniform_weights": True}},
    {"people": {"weight": 1, "groups_asked": 7, "clip_folder": "clip"}},
    {"people": {"preference": "lab/preferences/1/version-1", "clip_folder": "clip"}, "reward": {"watch": "preference"}},
    {
        "algorithm": {"name": "flow_grpo"},
        "rollout": {"sampler": "flow_sde"},
        "update": {"per_sigma": False, "old_policy_decay": 0.3},
    },
    {"algorithm": {"name": "flow_grpo"}, "rollout": {"sampler": "flow_cps", "noise_level": 0.9}},
    {"prompts": {"watch": "general-heldout"}, "reward": {"watch": "sharpness"}},
    {"model": {"lora_rank": 8, "lora_targets": "attention"}},
    {"model": {"trained": "all_weights"}},
    {"loss": {"preference_beta": 0.0}},
    {"reward": {"watch": "hpsv3", "server": "http://127.0.0.1:8000"}},
    *({"reward": {"train": name, "server": "http://127.0.0.1:8000", "server_model": "mine"}} for name in ASK_A_MODEL),
]


def test_rewards_that_ask_a_model_are_those_that_load_one():
    assert set(ASK_A_MODEL) == {name for name, kind in CLASSES.items() if kind == JUDGE}


def test_diffusion_dpo_is_refused_without_a_beta():
    rival = {"algorithm": {"name": "diffusion_dpo"}, "loss": {"preference_beta": 0}}
    with pytest.raises(ConfigError, match=r"compares by loss\.preference_beta, but that is 0\. Set it above 0"):
        check(from_dict(rival))


def test_stored_groups_have_sizes_of_their_own_and_nobody_is_asked_about_them():
    stored = {"rollout": {"stored_groups": "groups"}, "loss": {"extremes": 12}, "people": {"weight": 1}}
    assert cautions(from_dict(stored)) == (
        "people.weight does nothing: the groups of rollout.stored_groups are learned from, and none is drawn.",
    )


def test_guidance_that_nothing_reads_adds_up_nowhere():
    loss = {"reference_guidance": 4.5, "reference_every": 40, "kl_weight": 0.0, "kl_below": 0.1, "dual_clip": 0.0}
    unread = {"algorithm": {"name": "diffusion_nft"}, "loss": loss}
    assert [caution for caution in cautions(from_dict(unread)) if "adds up" in caution] == []


@pytest.mark.parametrize("words", UNWISE)
def test_an_unwise_recipe_is_told_so(words):
    assert any(words in caution for caution in cautions(from_dict(UNWISE[words])))


def test_every_rule_has_a_case():
    found = {rule.__name__ for rule in RULES for changes in UNWISE.values() if rule(from_dict(changes))}
    assert found == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("changes", SOUND, ids=str)
def test_a_sound_recipe_is_left_alone(changes):
    assert cautions(from_dict(changes)) == ()


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_what_ships_is_sound(recipe):
    check(load_recipe(recipe.name))
    assert cautions(load_recipe(recipe.name)) == ()


def refusal(function):
    try:
        function()
    except ConfigError as error:
        return str(error)
    return ""


FLOW_GRPO = {"algorithm": {"name": "flow_grpo"}, "rollout": {"sampler": "flow_sde"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rollout": {"sampler": "euler"}}, "rollout.sampler is euler. Set rollout.sampler to flow_sde or flow_cps."),
        (
            {"rollout": {"sampler": "flow_cps", "noise_level": 1.2}},
            "noise_level must be 0 to 1, got 1.2: at",
        ),
        ({"rollout": {"sampler": "flow_sde", "stored_groups": "groups"}}, "gives pictures without paths. Leave it"),
        ({"rollout": {"sampler": "flow_sde", "noise_level": 0.0}}, "rollout.noise_level is 0. Set it above 0"),
        ({"loss": {"num_sigmas": 6}}, "only 5 of the 8 sampling sigmas are at least loss.sigma_min = 0.5 and have"),
        ({"loss": {"num_sigmas": 8, "sigma_min": 0.0}}, "loss.num_sigmas is 8, but only 7 of the 8 sampling sigmas"),
    ],
)
def test_flow_grpo_is_refused_what_it_cannot_learn_from(changes, words):
    with pytest.raises(ConfigError) as refused:
        check(from_dict(FLOW_GRPO | changes))
    assert words in str(refused.value)


def test_one_picture_of_a_group_is_refused_as_the_only_one_to_train_on():
    with pytest.raises(ConfigError, match=r"loss\.extremes is 1.*2 or more, or to 0"):
        check(from_dict({"loss": {"extremes": 1}}))


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("train", "preference"),
        ("evaluation", "preference"),
        ("train", "brightness*2 + preference"),
        ("watch", "sharpness, preference"),
    ],
)
def test_a_learned_preference_must_be_named(place, named):
    reward = {"reward": {place: named}}
    with pytest.raises(ConfigError, match=r"people\.preference names none\. Set it to a version's folder"):
        check(from_dict(reward))
    check(from_dict(reward | {"people": {"preference": "lab/preferences/1/version-1"}}))


def test_flow_grpo_may_train_every_step_that_has_noise():
    check(from_dict(FLOW_GRPO | {"loss": {"num_sigmas": 7, "sigma_min": 0.0}}))


@given(
    num_steps=st.integers(1, 30),
    num_sigmas=st.integers(1, 12),
    shift=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    sigma_min=st.sampled_from([0.0, 0.123, 0.377, 0.6, 0.75, 0.8887, 0.9871]),
    source=st.sampled_from(["grid", "continuous"]),
)
def test_a_start_is_refused_exactly_where_a_step_would_be(num_steps, num_sigmas, shift, sigma_min, source):
    config = RunConfig()
    loss = replace(config.loss, num_sigmas=num_sigmas, sigma_min=sigma_min, sigma_source=source)
    rollout = replace(config.rollout, num_sampling_steps=num_steps, sigma_shift=shift)
    grid = linear_sigmas(num_steps, shift)
    draw = {"sigma_min": sigma_min, "source": source, "grid": grid, "generator": generator_for(0, "test")}
    expected = refusal(lambda: training_sigmas(num_sigmas, **draw))
    assert refusal(lambda: check(replace(config, loss=loss, rollout=rollout))) == expected
