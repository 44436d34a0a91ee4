"""Every setting has exactly one control, and what the controls show is the config."""

import re

import gradio as gr
import pytest

from app.ui.fields import Fields, config_of, info_of, label_of, values_of
from dgpo_core.config import RunConfig, from_dict, settings
from dgpo_core.errors import ConfigError

PATHS = [setting.path for setting in settings()]


def drawn(config=None):
    with gr.Blocks():
        fields = Fields(config or RunConfig())
        fields.draw_important()
        fields.draw_rest()
    return fields


def test_each_setting_has_exactly_one_control():
    controls = drawn().controls
    assert [control.elem_id for control in controls] == ["setting-" + path.replace(".", "-") for path in PATHS]
    assert len({id(control) for control in controls}) == len(PATHS)


def test_controls_show_the_config_they_are_drawn_for():
    config = from_dict({"name": "mine", "loss": {"kl_weight": 0.5}, "update": {"per_sigma": False}})
    assert [control.value for control in drawn(config).controls] == values_of(config)


def test_the_important_settings_are_drawn_first_and_the_rest_folded_by_section():
    with gr.Blocks() as page:
        fields = Fields(RunConfig())
        fields.draw_important()
        open_ones = set(page.blocks)
        fields.draw_rest()
    pairs = zip(settings(), fields.controls, strict=True)
    is_open = {setting.path: control._id in open_ones for setting, control in pairs}
    assert is_open == {setting.path: setting.knob.is_important for setting in settings()}
    assert all(not block.open for block in page.blocks.values() if isinstance(block, gr.Accordion))


def test_what_is_shown_is_what_is_read():
    assert config_of(values_of(RunConfig())) == RunConfig()


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: setting.path)
def test_each_setting_changes_its_own_value_and_no_other(setting):
    knob = setting.knob
    others = {bool: not setting.default, str: "other"}
    value = (knob.choices or knob.offers)[-1] if knob.choices or knob.offers else others.get(setting.kind, knob.high)
    values = values_of(RunConfig())
    values[PATHS.index(setting.path)] = value
    assert values_of(config_of(values)) == values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("rollout.group_size", 1, r"rollout.group_size must be 2 to 256, got 1"),
        ("rollout.group_size", 2.5, r"rollout.group_size must be a whole number, got 2.5"),
        ("rollout.group_size", None, r"rollout.group_size must be a whole number, got None"),
        ("loss.kl_weight", float("nan"), r"loss.kl_weight must be a number, got nan"),
        ("name", "  ", r"name must be 1 to 200 printable characters"),
    ],
)
def test_a_wrong_value_is_refused_by_the_setting_it_belongs_to(path, value, message):
    values = values_of(RunConfig())
    values[PATHS.index(path)] = value
    with pytest.raises(ConfigError, match=message):
        config_of(values)


def test_labels_are_words_and_infos_tell_the_range():
    by_path = {setting.path: setting for setting in settings()}
    assert label_of(by_path["rollout.group_size"]) == "Group size"
    assert label_of(by_path["loss.kl_weight"]) == "KL weight"
    assert label_of(by_path["rollout.num_sampling_steps"]) == "Number of sampling steps"
    assert info_of(by_path["rollout.group_size"]) == "Pictures drawn per prompt. Allowed: 2 to 256."
    assert (
        info_of(by_path["reward.evaluation"])
        == "Reward that the examination reports: one name, or your own as file.py:function."
    )
    assert label_of(by_path["algorithm.name"]) == "Algorithm"
    assert info_of(by_path["schedule.num_steps"]) == "Steps of the run. Allowed: 1 to 1000000."
    assert info_of(by_path["reward.train"]).endswith("or a mixture: ocr*0.7 + clipscore.")


def test_no_help_has_what_gradio_takes_for_markup():
    helps = {setting.path: info_of(setting) for setting in settings()}
    assert {path: text for path, text in helps.items() if re.search(r"\*.+\*|`|\]\(", text)} == {}
