"""The project's own files, as a clone or an unpacked copy has them."""

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


def text_of(path: str) -> str:
    """The text of one of these files."""
    return (ROOT / path).read_text(encoding="utf-8")
