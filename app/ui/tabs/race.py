"""The Race tab: how the algorithms of a race stand against each other, live from the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.lab import Lab
from app.race.plan import list_races, plan_of
from app.race.result import result_of
from app.store.reader import Reader
from app.store.rows import RaceRow
from app.ui import race_views as views
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.charts import RUN_CHARTS, curves_panel
from app.ui.live import Live, whole_number
from dgpo_core.errors import LabError

SHOWN_CHARTS = ("score", "reward", "quality", "kl", "time")


def race_tab(lab: Lab, live: Live) -> None:
    """Draws the tab. What is chosen is all that it remembers."""
    reader = lab.reader
    _draw_start(lab, live)
    changes = changes_panel(live, topic="races", fingerprint=lambda _: _fingerprint(reader))
    with gr.Row(equal_height=True):
        race = stored_choice(label="Race", elem_id="race-chosen", scale=2, min_width=260)
        drawn = stored_choice(label="Curves", elem_id="race-drawn", scale=1, min_width=220)
    heading = live.panel("words.js", elem_id="race-heading")
    standings = live.panel("table.js", elem_id="race-standings")
    charts = tuple(chart for chart in RUN_CHARTS if chart.key in SHOWN_CHARTS)
    not_drawn = live.panel("words.js", elem_id="race-not-drawn")
    curves = curves_panel(live, topic="race curves", charts=charts, value=[], elem_id="race-curves")
    quality = live.panel("table.js", elem_id="race-quality")
    tuning = live.panel("table.js", elem_id="race-tuning")

    def show(race_id: Any, choice: Any) -> list[Any]:
        return _shown(reader, race_id, choice)

    outputs = [race, drawn, heading, standings, not_drawn, curves, quality, tuning]
    changes.stale(show, [race, drawn], outputs, trigger_mode="always_last", api_name="races_refresh", **QUICK)
    race.input(lambda race_id: _shown(reader, race_id, None), race, outputs, api_name="races_open", **QUICK)
    drawn.input(show, [race, drawn], outputs, api_name="races_curves", **QUICK)


def _draw_start(lab: Lab, live: Live) -> None:
    """Which race to begin, and what became of the one begun here."""
    names = list_races()
    with gr.Row(equal_height=False):
        plan = gr.Dropdown(
            names,
            value="shapes",
            label="Plan",
            info="One of assets/races, or the path of a YAML file of yours. One that was cut short goes on.",
            allow_custom_value=True,
            elem_id="race-plan",
            scale=2,
            min_width=260,
        )
        start = gr.Button("Start the race", elem_id="race-start", scale=1, min_width=140)
        stop = gr.Button("Stop the race", elem_id="race-stop", scale=1, min_width=140)
    notice = live.panel("words.js", elem_id="race-notice", elem_classes="trouble")
    news = changes_panel(live, topic="race news", fingerprint=lambda _: lab.actions.race_words(), is_of_store=False)
    state = live.panel("words.js", elem_id="race-state")

    def begin(name: str) -> list[str]:
        return _done(lambda: lab.actions.start_race(name))

    def end() -> list[str]:
        return _done(lab.actions.stop_race)

    def _done(act: Callable[[], None]) -> list[str]:
        try:
            act()
        except LabError as error:
            return [str(error), lab.actions.race_words()]
        return ["", lab.actions.race_words()]

    start.click(begin, plan, [notice, state], api_name="races_start", **QUICK)
    stop.click(end, None, [notice, state], api_name="races_stop", **QUICK)
    news.stale(lab.actions.race_words, None, state, trigger_mode="always_last", api_visibility="private", **QUICK)


def _fingerprint(reader: Reader) -> Any:
    """Differs when a race begins, ends, or may have lost a run or got an examination, which is also a diary's line."""
    races = [(race.id, race.ended) for race in reader.races()]
    return races, [run.id for run in reader.runs()], reader.latest_diary_line()


def _shown(reader: Reader, race_id: Any, choice: Any) -> list[Any]:
    """The chosen race, else the newest, with the chosen curves, else those of its first seed."""
    races = reader.races()
    race = _chosen(races, race_id)
    if race is None:
        return [
            gr.update(choices=[], value=None),
            gr.update(choices=[], value=None),
            views.NO_RACE,
            None,
            "",
            [],
            None,
            None,
        ]
    plan, runs = plan_of(race.plan, race.name), reader.race_runs(race.id)
    result = result_of(plan, runs)
    choices = views.curve_choices(runs)
    offered = [value for _, value in choices]
    drawn = choice if choice in offered else next(iter(offered), None)
    ids = views.runs_to_draw(runs, drawn) if drawn else []
    return [
        gr.update(choices=views.race_choices(races), value=race.id),
        gr.update(choices=choices, value=drawn),
        views.heading(race, plan, result),
        views.standings_table(result),
        views.not_drawn(ids),
        ids,
        views.quality_table(result),
        views.tuning_table(result),
    ]


def _chosen(races: list[RaceRow], race_id: Any) -> RaceRow | None:
    wanted = whole_number(race_id)
    return next((race for race in races if race.id == wanted), next(iter(races), None))
