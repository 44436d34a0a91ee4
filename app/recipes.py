"""Recipes: the settings of a run as a YAML file that people can read, keep and share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "assets" / "recipes"
PLAIN = "shapes"
MAX_BYTES = 1_000_000
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that ships with the lab; about is the comment at the top of its file."""

    name: str
    path: Path
    about: str


def list_recipes(folder: Path = RECIPES) -> list[Recipe]:
    """The recipes of a folder, by name; the plain one of the embedded model comes first."""
    paths = sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != PLAIN, path.stem))
    return [Recipe(path.stem, path, _about(path)) for path in paths]


def load_recipe(name_or_path: str, folder: Path = RECIPES) -> RunConfig:
    """The settings of a shipped recipe (by name) or of any YAML file (by path); what it leaves out has its default.

    Raises:
        ConfigError: no such recipe, not YAML, or a setting that is unknown or out of range.
    """
    path = folder / f"{name_or_path}.yaml" if re.fullmatch(r"[\w-]+", name_or_path) else Path(name_or_path)
    try:
        text = path.read_bytes()[: MAX_BYTES + 1]
    except OSError:
        known = ", ".join(recipe.name for recipe in list_recipes(folder)) or "none"
        raise ConfigError(
            f"There is no recipe {name_or_path!r}. Known: {known}; or give the path of a YAML file."
        ) from None
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path.name} is larger than {MAX_BYTES:,} bytes, which no recipe is. Give a recipe.")
    return parse_recipe(text, path.name)


def parse_recipe(text: str | bytes, name: str = "The recipe") -> RunConfig:
    """The settings that a YAML text gives.

    Raises:
        ConfigError: not YAML, or a setting that is unknown or out of range.
    """
    values = read_yaml(text, name)
    return from_dict({} if values is None else values)


def read_yaml(text: str | bytes, name: str) -> Any:
    """The plain values of a YAML text; name is what messages call it.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_RecipeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise ConfigError(f"{name} is not valid YAML{where}: {problem}. Correct it there.") from None


def parse_value(text: str, name: str) -> Any:
    """The value of one setting, written as in a recipe.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_RecipeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{name} cannot be read: {text[:80]!r} is not YAML. Write it as in a recipe.") from None


def dump_recipe(config: RunConfig) -> str:
    """The settings as YAML text; parse_recipe gives them back."""
    return dump_values(to_dict(config))


def dump_values(values: dict[str, Any]) -> str:
    """Nested settings as YAML text, also of a run that had settings which are gone; text that looks like a number is
    quoted."""
    return yaml.dump(values, Dumper=_RecipeDumper, sort_keys=False, allow_unicode=True)


class _RecipeLoader(yaml.SafeLoader):
    """Reads 3e-4 as a number, and refuses a setting that is given twice (YAML would silently take the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a name must be one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _RecipeDumper(yaml.SafeDumper):
    """Puts quotes around a name such as 3e-4, which the loader would take for a number."""


for _side in (_RecipeLoader, _RecipeDumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def _about(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").rstrip())
    return " ".join(comment)
