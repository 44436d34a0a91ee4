"""The habits of CONTRIBUTING.md that ruff and mypy do not check."""

import ast
import re

import pytest
from project_tree import files, nodes_of, text_of

PYTHON = files(".py")
CODE = files(".py", ".js", ".css")
TEXT = files(".py", ".js", ".css", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".jsonl", ".log", ".html", ".svg")
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common"}
COMPLEXITY_WAIVER = re.compile(r"# noqa:\s.*\b(?:C901|PLR\d{4})\b(?P<reason>.*)")
BROAD_EXCEPT_WAIVER = re.compile(r"# noqa:\s.*\bBLE001\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home|Users|work|workspace|mnt)/|\b[A-Z]:\\Users\b")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def waivers(pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    return [(path, match) for path in PYTHON for match in pattern.finditer(text_of(path))]


def test_files_have_at_most_400_lines():
    lengths = {path: len(text_of(path).splitlines()) for path in CODE}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_functions_have_at_most_60_lines():
    lengths = {
        f"{path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in PYTHON
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_files_are_named_for_what_they_hold():
    names = {path: path.rpartition("/")[2].partition(".")[0] for path in CODE}
    assert [path for path, name in names.items() if set(name.split("_")) & VAGUE] == []


def test_at_most_five_functions_are_excused_from_the_complexity_limits_each_with_a_reason():
    excused = waivers(COMPLEXITY_WAIVER)
    assert len(excused) <= 5
    assert [path for path, match in excused if len(match["reason"].strip(" -,").split()) < 3] == []


def test_only_the_runner_catches_everything_and_only_once():
    assert [path for path, _ in waivers(BROAD_EXCEPT_WAIVER)] == ["app/runner.py"]


def found(pattern: re.Pattern[str], paths: list[str]) -> dict[str, list[str]]:
    """What of a pattern stands in the files where anything does."""
    return {path: matches for path in paths if (matches := pattern.findall(text_of(path)))}


def test_text_names_no_path_of_one_machine():
    assert found(MACHINE_PATH, TEXT) == {}


def test_code_is_finished():
    assert found(UNFINISHED, CODE) == {}


def imported_in(path: str) -> set[str]:
    imported = {node.module for node in nodes_of(path) if isinstance(node, ast.ImportFrom)}
    return imported | {alias.name for node in nodes_of(path) if isinstance(node, ast.Import) for alias in node.names}


def test_tests_replace_nothing_of_our_own_by_a_mock():
    tests = [path for path in PYTHON if path.startswith("tests/")]
    assert [path for path in tests if {"unittest", "unittest.mock", "mock"} & imported_in(path)] == []


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (MACHINE_PATH, "see /ho" + "me/me/lab", "in tests/home/page.py"),
        (MACHINE_PATH, "C:\\" + "Users\\me", "Users of the lab"),
        (UNFINISHED, "# TO" + "DO later", "methodology"),
        (COMPLEXITY_WAIVER, "f()  # noqa" + ": PLR0913 - many inputs here", "x  # noqa" + ": E501"),
        (BROAD_EXCEPT_WAIVER, "x  # noqa" + ": BLE001 - why", "x  # noqa" + ": E501"),
    ],
)
def test_patterns_find_what_they_look_for(pattern, bad, good):
    assert pattern.search(bad)
    assert not pattern.search(good)


def test_a_class_is_styled_as_itself_in_one_sheet_only():
    """All sheets are one on the page, so a second rule for the same bare class changes another panel."""
    sheets = {}
    for path in files(".css"):
        for selectors in re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", text_of(path), flags=re.DOTALL)):
            for selector in map(str.strip, selectors.split(",")):
                if re.fullmatch(r"\.[\w-]+", selector):
                    sheets.setdefault(selector, set()).add(path)
    assert {selector: paths for selector, paths in sheets.items() if len(paths) > 1} == {}
