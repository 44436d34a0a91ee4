"""The project's own files, as a clone or an unpacked copy has them."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
IGNORED = {line.strip("/ ") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}


def folders() -> list[Path]:
    """Top-level folders that belong to the project."""
    return sorted(
        path for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED and not path.name.startswith(".")
    )


def files(*suffixes: str) -> list[str]:
    """Paths below the root, with slashes, of the files with one of these suffixes."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in folders():
        found += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if path.suffix in suffixes)


@cache
def text_of(path: str) -> str:
    """The text of one of these files."""
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def nodes_of(path: str) -> tuple[ast.AST, ...]:
    """Everything in the syntax tree of one of these files, to be read only."""
    return tuple(ast.walk(ast.parse(text_of(path))))
