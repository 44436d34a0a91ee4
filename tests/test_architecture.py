"""The layers of docs/architecture.md hold: every file stands in one, and imports what its row allows."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest
from project_tree import ROOT, files, nodes_of, text_of

PAGE = text_of("docs/architecture.md")
RINGS = ("words", "maths", "world", "loop")
ANYTHING = "anything"


@dataclass(frozen=True)
class Layer:
    """A row of the table: its places are files, or folders that end in a slash."""

    name: str
    places: tuple[str, ...]
    layers: tuple[str, ...]
    modules: tuple[str, ...]

    def holds(self, path: str) -> bool:
        return any(path == place or (place.endswith("/") and path.startswith(place)) for place in self.places)


def read_layers() -> dict[str, Layer]:
    section = PAGE.split("## Layers")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    layers = []
    for name, places, allowed in rows:
        others = [word.strip() for word in re.sub(r"`.*?`", "", allowed).split(",")]
        layers.append(
            Layer(
                name=name.strip(),
                places=tuple(re.findall(r"`(.+?)`", places)),
                layers=tuple(word for word in others if word),
                modules=tuple(re.findall(r"`(.+?)`", allowed)),
            )
        )
    return {layer.name: layer for layer in layers}


LAYERS = read_layers()
PRODUCT = [path for path in files(".py") if not path.startswith("tests/")]
TOP_LEVEL = {path.split("/")[0] for path in PRODUCT}


def layers_of(path: str) -> list[Layer]:
    return [layer for layer in LAYERS.values() if layer.holds(path)]


@cache
def path_of(module: str) -> str | None:
    """The project's file behind a dotted name, or None."""
    base = module.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if (ROOT / path).is_file()), None)


def imports_among(nodes: Iterable[ast.AST]) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of every import, also of those inside functions."""
    return tuple(found for node in nodes for found in imports_of(node))


@cache
def imports_in(path: str) -> tuple[tuple[int, str], ...]:
    return imports_among(nodes_of(path))


def imports_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            yield node.lineno, whole if path_of(whole) else base


def is_allowed(module: str, layer: Layer) -> bool:
    top = module.split(".")[0]
    if ANYTHING in layer.layers or (top in sys.stdlib_module_names and top != "sqlite3"):
        return True
    if top not in TOP_LEVEL:
        return top in layer.modules
    path = path_of(module)
    target = layers_of(path)[0].name if path else None
    return target == layer.name or target in layer.layers or module in layer.modules


def violations(path: str, imports: Iterable[tuple[int, str]]) -> list[str]:
    layer = layers_of(path)[0]
    return [
        f"{path}:{line} imports {module}; {layer.name} may not (see Layers in docs/architecture.md)"
        for line, module in imports
        if not is_allowed(module, layer)
    ]


def test_files_stand_in_exactly_one_layer():
    standing = {path: [layer.name for layer in layers_of(path)] for path in PRODUCT}
    assert {path: names for path, names in standing.items() if len(names) != 1} == {}


def test_files_import_only_what_their_layer_may():
    assert [one for path in PRODUCT for one in violations(path, imports_in(path))] == []


@pytest.mark.parametrize(
    ("path", "source", "finding"),
    [
        ("dgpo_core/config.py", "import gradio", "dgpo_core/config.py:1 imports gradio"),
        ("dgpo_core/events.py", "from torch import Tensor", "dgpo_core/events.py:1 imports torch"),
        ("dgpo_core/flow.py", "from dgpo_core import trainer", "dgpo_core/flow.py:1 imports dgpo_core.trainer"),
        (
            "dgpo_core/loss.py",
            "def f():\n    from dgpo_core.rollout import Rollout",
            "dgpo_core/loss.py:2 imports dgpo_core.rollout",
        ),
        ("dgpo_core/trainer.py", "import app.settings", "dgpo_core/trainer.py:1 imports app.settings"),
        ("dgpo_core/trainer.py", "from .. import app", "dgpo_core/trainer.py:1 imports .."),
        ("app/store/writer.py", "import torch.nn", "app/store/writer.py:1 imports torch.nn"),
        ("app/store/reader.py", "import sqlite3", "app/store/reader.py:1 imports sqlite3"),
        ("app/ui/live.py", "from app.store.writer import Writer", "app/ui/live.py:1 imports app.store.writer"),
        ("app/ui/live.py", "from app.store import writer", "app/ui/live.py:1 imports app.store.writer"),
        ("app/ui/tabs/train.py", "from app.runner import Runner", "app/ui/tabs/train.py:1 imports app.runner"),
        ("base_model/release.py", "from app.lab import Lab", "base_model/release.py:1 imports app.lab"),
    ],
)
def test_forbidden_import_is_found(path, source, finding):
    assert [one.split(";")[0] for one in violations(path, imports_among(ast.walk(ast.parse(source))))] == [finding]


def names_in(path: str) -> set[str]:
    names = {node.id for node in nodes_of(path) if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes_of(path) if isinstance(node, ast.Attribute)}


def test_nothing_is_imported_by_a_name_made_at_run_time():
    made = {"__import__", "import_module", "exec", "run_path", "run_module"}
    assert {path: found for path in PRODUCT if (found := names_in(path) & made)} == {}


def test_layers_come_in_order_so_nothing_goes_in_circles():
    above: list[str] = []
    for layer in LAYERS.values():
        assert set(layer.layers) - {ANYTHING} <= set(above), layer.name
        above.append(layer.name)


@pytest.mark.parametrize("place", [place for layer in LAYERS.values() for place in layer.places])
def test_layer_names_places_that_exist(place):
    assert (ROOT / place).is_dir() if place.endswith("/") else (ROOT / place).is_file()


@pytest.mark.parametrize(
    "layer", [layer for layer in LAYERS.values() if ANYTHING not in layer.layers], ids=lambda layer: layer.name
)
def test_layer_may_import_nothing_that_it_does_not_use(layer):
    used = [module for path in PRODUCT if layer.holds(path) for _, module in imports_in(path)]
    used_layers = {layers_of(path)[0].name for module in used if (path := path_of(module))}
    assert set(layer.layers) <= used_layers
    assert set(layer.modules) <= {*used, *(module.split(".")[0] for module in used)}


@pytest.mark.parametrize("ring", RINGS)
def test_method_never_imports_the_lab(ring):
    assert set(LAYERS[ring].layers) <= set(RINGS[: RINGS.index(ring)])
    assert not {"app", "gradio", "sqlite_utils"} & {module.split(".")[0] for module in LAYERS[ring].modules}


def test_store_knows_only_words_and_its_library():
    assert (LAYERS["store"].layers, LAYERS["store"].modules) == (("words",), ("sqlite_utils",))


def test_page_reads_and_asks_but_neither_writes_nor_trains():
    assert set(LAYERS["page"].layers) == {"words", "lab"}
    from_store = {module for module in LAYERS["page"].modules if module.startswith("app.store")}
    assert from_store == {"app.store.reader", "app.store.rows"}


def loaded_by(statement: str) -> tuple[set[str], float]:
    """Packages that a fresh process has loaded after a statement, and the processor seconds that it took."""
    script = (
        "import sys, time; started = time.process_time()\n"
        f"{statement}\n"
        "print(time.process_time() - started, *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, *names = done.stdout.split()
    return set(names), float(seconds)


@pytest.mark.slow
def test_page_loads_neither_torch_nor_any_model_library():
    names, seconds = loaded_by("import gradio; started = time.process_time(); import app.ui.build")
    assert not {"torch", "diffusers", "transformers", "peft", "scipy", "safetensors"} & names
    assert seconds < 1.5


def test_command_line_answers_before_anything_large_is_loaded():
    names, seconds = loaded_by("import app.__main__")
    assert not {"torch", "gradio", "diffusers", "transformers", "scipy"} & names
    assert seconds < 1.5
