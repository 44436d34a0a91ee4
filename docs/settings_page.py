"""Writes docs/settings.md from dgpo_core.config and app.race.plan, where every setting is declared.

python -m docs.settings_page
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, get_type_hints

from app.race.plan import RaceRules
from dgpo_core.config import RunConfig, Setting, settings

PAGE = Path(__file__).parent / "settings.md"
KINDS = {int: "whole number, ", float: "number, ", str: "", bool: ""}
HEADER = """# Settings of a run

Every setting, as a recipe names it. This page is written by `make docs` from `config.py`, `model_config.py` and
`reward_config.py` of `dgpo_core`, and from `app/race/plan.py`; change it there.

A recipe is a YAML file with any of these settings, grouped as below; what it leaves out has its default.
On the command line a setting is changed by its full name: `--set loss.kl_weight=0.001`. Settings in bold
stand open on the Train tab, the others are folded away there. `docs/method.md` has what the settings of
the loss do to the equations. The recipe `shapes`, with which the Train tab opens, differs from these defaults:
`docs/recipes.md` says in what, and why.
"""


RACES = """## A race

`python -m app race RACE` runs several algorithms from the same start; `docs/race.md` explains it. A race is a YAML
file with these settings, `seeds`, a grid of `learning_rates`, the `entrants`: names, each with the settings of a
run that it changes, and perhaps `prepare`: folders of groups to be drawn first, each with the settings of the run
that draws them.
"""
TABLE = "| setting | default | allowed | what it does |\n|---|---|---|---|\n"


def settings_page() -> str:
    """The text of docs/settings.md."""
    parts = [HEADER]
    for section, members in groupby(settings(), key=lambda setting: setting.path.rpartition(".")[0]):
        parts.append(f"## {section or 'Run'}\n\n{_about(section)}\n")
        parts.append(TABLE + "".join(map(_row, members)))
    parts += [RACES, TABLE + "".join(map(_row, settings(RaceRules)))]
    return "\n".join(parts)


def _about(section: str) -> str:
    kind = get_type_hints(RunConfig)[section] if section else RunConfig
    return str(kind.__doc__)


def _row(setting: Setting) -> str:
    name = f"**`{setting.path}`**" if setting.knob.is_important else f"`{setting.path}`"
    return f"| {name} | `{_written(setting.default)}` | {_allowed(setting)} | {setting.knob.help} |\n"


def _allowed(setting: Setting) -> str:
    if setting.kind is bool:
        return "true or false"
    return KINDS[setting.kind] + (setting.knob.allowed() or "text")


def _written(value: Any) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
