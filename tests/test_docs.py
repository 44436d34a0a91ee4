"""The documents name what exists."""

import ast
import importlib
import inspect
import re
from dataclasses import fields
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from project_tree import IGNORED, ROOT, files, folders, text_of

from app.race.plan import RaceRules
from dgpo_core.config import settings

METHOD = text_of("docs/method.md")
MATHS = ("flow", "diffusion", "schedules", "samplers", "guidance", "groups", "loss", "ema", "seeds")
KNOBS = {setting.path for setting in settings()}
RULES = {rule.name for rule in fields(RaceRules)}


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
        module_name, attribute = name.rsplit(".", 1)
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


# The other documents: what they name, wherever they name it.

DOCUMENTS = [path for path in files(".md") if not path.startswith(("assets/", "tests/", "docs/lab-log.md"))]
METRICS, ARCHITECTURE, README = (text_of(path) for path in ("docs/metrics.md", "docs/architecture.md", "README.md"))
EVERY_FILE = files(".py", ".md", ".toml", ".txt", ".yaml", ".js", ".css", ".json", ".svg", ".png")
SUFFIX = re.compile(r"\.(?:py|md|toml|txt|yaml|json|safetensors|lock|png|db)$")
# Files that a lab makes while it runs, named without their folder.
MADE_BY_RUNS = {"tensors.safetensors", "state.json", "manifest.json", "lab.lock", "training.lock"}


def spans(path: str) -> list[str]:
    """Code in the running text and tables of a document."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL))


def code_lines(path: str) -> list[str]:
    """Code of a document: spans, and the lines of its blocks."""
    blocks = re.findall(r"```\w*\n(.*?)```", text_of(path), flags=re.DOTALL)
    indented = re.findall(r"^ {4}(\S.*)$", text_of(path), flags=re.MULTILINE)
    return spans(path) + [line for block in blocks for line in block.splitlines()] + indented


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_column(text: str, after: str) -> list[str]:
    """First cells of the table whose header begins with a word, without their code marks."""
    rows = text.split(f"\n| {after} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def paths_named() -> set[str]:
    """Paths of the project that a document names, in code or as a link."""
    found = set()
    for document in DOCUMENTS:
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text_of(document)) if "://" not in link]
        found |= {str((Path(document).parent / link).as_posix()) for link in links}
        found |= {
            span
            for span in spans(document)
            if re.fullmatch(r"[\w.*-]+(?:/[\w.*-]+)*/?", span) and ("/" in span or SUFFIX.search(span))
        }
    return {path for path in found if not path.startswith("lab/")} - MADE_BY_RUNS


def exists(path: str) -> bool:
    return (ROOT / path).exists() or any(fnmatch(one, path) or fnmatch(one, f"*/{path}") for one in EVERY_FILE)


@cache
def flags_declared(path: str) -> set[str]:
    """Options that a command line's source declares."""
    calls = [node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, ast.Call)]
    names = [argument for call in calls if getattr(call.func, "attr", "") == "add_argument" for argument in call.args]
    return {name.value for name in names if isinstance(name, ast.Constant) and name.value.startswith("--")} | {"--help"}


def command_file(module: str) -> str | None:
    base = module.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__main__.py") if (ROOT / path).is_file()), None)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("path", sorted(paths_named()))
def test_documents_name_paths_that_exist(path):
    assert exists(path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_names_make_targets_that_exist(document):
    named = {target for line in code_lines(document) for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert named <= make_targets()


def test_makefile_runs_modules_that_exist():
    modules = set(re.findall(r"python -m ([\w.]+)", text_of("Makefile"))) - {"pip", "pytest"}
    assert {module for module in modules if command_file(module) is None} == set()


def test_contributing_lists_every_make_target_for_people():
    phony = text_of("Makefile").split(".PHONY:")[1].splitlines()[0].split()
    assert set(phony) == {line.removeprefix("make ") for line in first_column(text_of("CONTRIBUTING.md"), "command")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_names_commands_and_options_that_exist(document):
    every = {flag for path in files(".py") if not path.startswith("tests/") for flag in flags_declared(path)}
    for line in code_lines(document):
        module = re.search(r"python3? -m ([\w.]+)", line)
        flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", line))
        if module is None:
            assert flags <= every, line
        elif module[1] not in ("venv", "pip", "pytest"):
            source = command_file(module[1])
            assert source is not None, line
            assert flags <= flags_declared(source), line


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path != "docs/method.md"])
def test_document_names_settings_that_exist(document):
    sections = "|".join(sorted({path.split(".")[0] for path in KNOBS if "." in path}))
    named = {found[1] for span in spans(document) if (found := re.match(rf"((?:{sections})\.(?!py\b)\w+)", span))}
    assert named <= KNOBS
    for line in code_lines(document):
        changes = " ".join(re.findall(r"--set((?: [a-z_.]+=\S+)+)", line))
        assert set(re.findall(r"([a-z_.]+)=", changes)) <= (RULES if "benchmarks.race" in line else KNOBS), line


def test_settings_page_is_what_make_docs_writes():
    from docs.settings_page import settings_page

    assert text_of("docs/settings.md") == settings_page(), "run make docs"


def test_readme_tree_is_the_tree():
    tree = section(README, "The tree").split("```")[1].strip("\n").splitlines()
    top = ""
    named = set()
    for line in tree:
        entry = line.split()[0]
        top = "" if not line.startswith(" ") else top
        assert (ROOT / top / entry).exists(), line
        assert (ROOT / top / entry).is_dir() == entry.endswith("/"), line
        top = top or entry
        named.add(top.strip("/"))
    present = {path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")} - IGNORED
    assert named == present | {path.name for path in folders()}


def test_readme_names_the_places_of_a_lab():
    from app.settings import Settings

    places = Settings()
    assert {f"{places.folder}/", str(places.database), f"{places.own_prompts}/"} <= set(spans("README.md"))
    assert f"http://{places.host}:{places.port}" in README


def test_readme_asks_for_prompts_that_the_shapes_world_reads():
    from dgpo_core.data.requests import parse_request

    line = next(line for line in README.splitlines() if "GenEval's six categories:" in line)
    examples = re.findall(r"\*([^*]+)\*", line)
    assert [parse_request(prompt).category for prompt in examples] == ["position", "counting", "attribution"]


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_metrics_page_has_every_number_of_a_step():
    from dgpo_core.events import StepMetrics

    assert first_column(section(METRICS, "A step"), "number") == [one.name for one in fields(StepMetrics)]


def test_metrics_page_has_every_number_of_a_group():
    from dgpo_core.events import ScoredGroup

    numbers = [one.name for one in fields(ScoredGroup) if one.name not in ("index", "prompt", "samples")]
    assert first_column(section(METRICS, "A group"), "number") == [*numbers, "advantage"]


def test_metrics_page_has_the_score_and_every_category():
    from dgpo_core.data.requests import CATEGORIES

    examination = section(METRICS, "An examination")
    assert first_column(examination, "number") == ["score"]
    assert first_column(examination, "category") == list(CATEGORIES)


def test_metrics_page_has_every_quality_number():
    from dgpo_core.group_window import AGREEMENT, DIVERSITY
    from dgpo_core.rewards.shapes_quality import ShapesQuality

    def features(pictures):
        return torch.from_numpy(np.stack([picture.mean(axis=(0, 1)) for picture in pictures]))

    blank = [np.full((64, 64, 3), shade, dtype=np.uint8) for shade in (200, 255)]
    measured = ShapesQuality(features)(blank, ["a circle"] * 2, features(blank))
    assert first_column(section(METRICS, "Quality"), "number") == [*measured, DIVERSITY, AGREEMENT, "NAME (watched)"]


def test_metrics_page_has_every_number_of_a_comparison():
    from app.statistics import PairedChange

    assert first_column(section(METRICS, "A comparison"), "number") == [one.name for one in fields(PairedChange)]


def test_metrics_page_says_where_each_number_is_drawn():
    from app.ui.charts import RUN_CHARTS

    drawn = section(METRICS, "Where each is drawn")
    assert first_column(drawn, "chart") == [chart.title for chart in RUN_CHARTS]
    for chart in RUN_CHARTS:
        row = next(line for line in drawn.splitlines() if line.startswith(f"| {chart.title} |"))
        if chart.kind == "lines":
            columns = [column for column, _ in chart.lines] + ([chart.spread] if chart.spread else [])
            assert re.findall(r"`(\w+)`", row) == columns


def test_architecture_page_has_every_event_and_command():
    from dgpo_core.events import Command, Event

    assert first_column(ARCHITECTURE, "event") == [kind.__name__ for kind in get_args(Event)]
    assert first_column(ARCHITECTURE, "command") == [kind.__name__ for kind in get_args(Command)]


def test_architecture_page_has_every_table_of_the_store(tmp_path):
    from app.store.database import open_for_writing

    db = open_for_writing(tmp_path / "lab.db")
    tables = {name for name in db.table_names() if not name.startswith(("_", "sqlite_"))}
    db.close()
    named = first_column(ARCHITECTURE, "table")
    assert (sorted(named), len(named)) == (sorted(tables), len(tables))


DECISIONS = [path for path in DOCUMENTS if path.startswith("docs/decisions/")]


@pytest.mark.parametrize("path", DECISIONS)
def test_decision_gives_context_choice_cost_and_an_end(path):
    text = text_of(path)
    number = path.rpartition("/")[2][:4]
    title = re.match(rf"# {number} (.+)\n", text)
    assert title
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Choice", "Cost", "When to revisit"]
    assert f"- [{number}]({path.removeprefix('docs/')}) {title[1]}" in ARCHITECTURE
    assert len(text.splitlines()) <= 60


def test_decisions_are_numbered_without_gaps():
    numbers = [int(path.rpartition("/")[2][:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
