"""Controls drawn from the settings of a run, and read back. Limits are told, not enforced, by the controls:
the config checks every value and names the setting, which Gradio's own limits do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import gradio as gr

from dgpo_core.config import RunConfig, Setting, from_dict, settings, to_dict, with_setting

SECTION_TITLES = {
    "": "Run",
    "model": "Model",
    "prompts": "Prompts",
    "reward": "Reward",
    "people": "People",
    "algorithm": "Algorithm",
    "rollout": "Groups and sampling",
    "loss": "Loss",
    "update": "Update",
    "schedule": "Schedule",
}
LABELS = {"algorithm.name": "Algorithm", "people.weight": "People's share of the reward"}
"""Names of settings that say too little without their section."""
ACRONYMS = {"kl": "KL", "lora": "LoRA", "num": "number of", "std": "spread"}


def label_of(setting: Setting) -> str:
    """The setting's name in words: rollout.group_size is 'Group size'."""
    if setting.path in LABELS:
        return LABELS[setting.path]
    words = " ".join(ACRONYMS.get(word, word) for word in setting.path.rpartition(".")[2].split("_"))
    return words[0].upper() + words[1:]


def info_of(setting: Setting) -> str:
    """The setting's help, and its range where it has one. Gradio sets what stands between two stars in italics."""
    knob = setting.knob
    return knob.help if knob.choices or knob.low is None else f"{knob.help} Allowed: {knob.allowed()}."


def control(
    setting: Setting, value: Any, choices: Sequence[str] | None = None, **options: Any
) -> gr.components.Component:
    """The one control of a setting; choices offer names for a setting that takes any text."""
    named = {
        "label": label_of(setting),
        "info": info_of(setting),
        "value": value,
        "elem_id": "setting-" + setting.path.replace(".", "-"),
        **options,
    }
    if setting.knob.choices:
        return gr.Dropdown(choices=list(setting.knob.choices), **named)
    choices = choices if choices is not None else setting.knob.offers or None
    if choices is not None:
        return gr.Dropdown(choices=list(choices), allow_custom_value=True, **named)
    if setting.kind is bool:
        return gr.Checkbox(**named)
    if setting.kind is str:
        return gr.Textbox(max_lines=1, **named)
    return gr.Number(**named)


class Fields:
    """The controls of all settings, in the order of config.settings(), whatever the order they are drawn in."""

    def __init__(self, config: RunConfig) -> None:
        self._values = to_dict(config)
        self._settings = {setting.path: setting for setting in settings()}
        self._controls: dict[str, gr.components.Component] = {}

    def draw(self, path: str, choices: Sequence[str] | None = None, **options: Any) -> gr.components.Component:
        """Draw one setting here."""
        assert path not in self._controls, f"{path} is drawn twice"
        self._controls[path] = control(self._settings[path], value_at(self._values, path), choices, **options)
        return self._controls[path]

    def draw_important(self) -> None:
        """Draw the important settings that are not drawn yet."""
        for setting in self._left():
            if setting.knob.is_important:
                self.draw(setting.path)

    def draw_rest(self) -> None:
        """Draw all settings that are not drawn yet, folded away by section."""
        for section, members in groupby(list(self._left()), key=lambda setting: setting.path.rpartition(".")[0]):
            with gr.Accordion(SECTION_TITLES[section], open=False):
                for setting in members:
                    self.draw(setting.path)

    @property
    def controls(self) -> list[gr.components.Component]:
        """One control per setting, in the order of config.settings()."""
        missing = self._settings.keys() - self._controls.keys()
        assert not missing, f"settings without a control: {sorted(missing)}"
        return [self._controls[path] for path in self._settings]

    def controls_of(self, paths: Sequence[str]) -> list[gr.components.Component]:
        """The controls of some settings, in the order given."""
        return [self._controls[path] for path in paths]

    def _left(self) -> Iterator[Setting]:
        return (setting for path, setting in self._settings.items() if path not in self._controls)


def values_of(config: RunConfig) -> list[Any]:
    """The config's values for the controls."""
    return [value_at(to_dict(config), setting.path) for setting in settings()]


def config_of(values: Sequence[Any]) -> RunConfig:
    """The config that the controls show.

    Raises:
        ConfigError: a value is missing, of the wrong type or out of range; the message names the setting.
    """
    return partial_config_of([setting.path for setting in settings()], values)


def partial_config_of(paths: Sequence[str], values: Sequence[Any]) -> RunConfig:
    """The config with some settings as given, and all others at their defaults.

    Raises:
        ConfigError: as config_of.
    """
    nested: dict[str, Any] = {}
    for path, value in zip(paths, values, strict=True):
        nested = with_setting(nested, path, value)
    return from_dict(nested)


def value_at(nested: dict[str, Any], path: str) -> Any:
    """The value at a dotted path."""
    head, _, rest = path.partition(".")
    return value_at(nested[head], rest) if rest else nested[head]
