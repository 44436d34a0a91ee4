"""The documents name what exists."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from dgpo_core.config import settings

ROOT = Path(__file__).parents[1]
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
MATHS = ("flow", "schedules", "samplers", "guidance", "groups", "loss", "ema", "seeds")
KNOBS = {setting.path for setting in settings()}


def method_table() -> list[tuple[str, list[str], list[str]]]:
    """The rows of "Equation, function, settings": what, function names, setting names."""
    section = METHOD.split("## Equation, function, settings")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return [
        (what.strip(), re.findall(r"`(.+?)`", functions), re.findall(r"`(.+?)`", knobs))
        for what, functions, knobs in rows
    ]


def public_functions(module_name: str) -> set[str]:
    """Public functions of a module of the maths, and its classes with behaviour, as the table writes them."""
    module = importlib.import_module(f"dgpo_core.{module_name}")
    return {
        f"{module_name}.{name}"
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def test_method_table_names_functions_that_exist():
    named = {name for _, functions, _ in method_table() for name in functions}
    for name in named:
        module_name, attribute = name.split(".")
        assert callable(getattr(importlib.import_module(f"dgpo_core.{module_name}"), attribute))


@pytest.mark.parametrize("module_name", MATHS)
def test_method_table_names_every_public_function(module_name):
    named = {name for _, functions, _ in method_table() for name in functions}
    assert public_functions(module_name) <= named


def test_method_table_names_settings_that_exist():
    named = {name for _, _, knobs in method_table() for name in knobs}
    assert named <= KNOBS


def test_method_table_names_every_setting_of_the_loss():
    named = {name for _, _, knobs in method_table() for name in knobs}
    assert {knob for knob in KNOBS if knob.startswith("loss.")} <= named


def test_method_text_names_settings_that_exist():
    sections = {path.split(".")[0] for path in KNOBS if "." in path}
    functions = {name for _, names, _ in method_table() for name in names}
    words = re.findall(rf"\b(?:{'|'.join(sorted(sections))})\.[a-z_]+\b", METHOD)
    assert words
    assert set(words) <= KNOBS | functions


def test_method_equations_are_numbered_in_order_and_stand_in_the_table():
    numbers = [int(number) for number in re.findall(r"^    \((\d+)\) ", METHOD, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    in_table = [int(what.strip("()")) for what, _, _ in method_table() if what.startswith("(")]
    assert in_table == numbers


@pytest.mark.parametrize("module_name", MATHS)
def test_method_equations_that_docstrings_cite_name_the_function(module_name):
    source = (ROOT / "dgpo_core" / f"{module_name}.py").read_text(encoding="utf-8")
    rows = {what: functions for what, functions, _ in method_table()}
    for name in public_functions(module_name):
        function = name.split(".")[1]
        body = source.split(f"def {function}(")[1].split("\ndef ")[0]
        for number in re.findall(r"method\.md eq\. (\d+)", body):
            assert name in rows[f"({number})"]


def test_method_is_short():
    assert len(METHOD.splitlines()) <= 200
