"""The Train tab: what to run, what happens now, the groups, the curves."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.lab import Lab
from app.recipes import Recipe, list_recipes, load_recipe
from app.ui import train_requests as requests
from app.ui.charts import RUN_CHARTS, curves_panel
from app.ui.fields import Fields, values_of
from app.ui.live import ASSETS_URL, Live
from app.ui.own_prompts import draw_examined_prompts, draw_prompts, offer_brought_files
from app.ui.train_feed import TrainFeed
from dgpo_core.config import RunConfig
from dgpo_core.errors import LabError

# Handlers that only read a little or hand over a command: no queue, no spinner, no limit.
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "concurrency_limit": None}
DEFAULTS = "(the defaults)"
AFTER_THE_REST = f"""async (...values) => {{
  await (await import("{ASSETS_URL}/live.js")).firstShown;
  return values;
}}"""
"""Lets a question wait until the page has shown what it opens with."""


def train_tab(lab: Lab, live: Live) -> Fields:
    """Draw the tab; the fields it returns show a config with `values_of(config)` as outputs to `fields.controls`."""
    TrainFeed(lab.reader).answer_all(live)
    recipes = list_recipes()
    fields = Fields(_first_config(recipes))
    with gr.Row(elem_id="start-strip", equal_height=False):
        recipe = _recipe_choice(recipes)
        fields.draw("name", label="Name of the run", max_length=200, scale=2, min_width=200)
        start = gr.Button("Start", variant="primary", elem_id="start", scale=1, min_width=140)
    notice = live.panel("words.js", elem_id="start-notice", elem_classes="trouble")
    cautions = live.panel("words.js", elem_id="cautions", elem_classes="caution")
    memory = live.panel("words.js", elem_id="memory", elem_classes="small")
    with gr.Row(elem_id="train-columns", equal_height=False):
        with gr.Column(scale=1, min_width=300, elem_id="train-settings"):
            own_prompts = _draw_settings(lab, live, fields)
        with gr.Column(scale=3, min_width=320, elem_id="train-live"):
            act = requests.acting(lab)
            status = live.panel("status.js", server_functions=[act], events=("liveness",), elem_id="status")
            live.panel("alarms.js", elem_id="alarms")
            live.panel("wall.js", elem_id="wall")
            live.panel("previews.js", server_functions=[act], elem_id="previews")
            curves_panel(live, topic="curves", charts=RUN_CHARTS, elem_id="curves")
            live.panel("heldout.js", elem_id="heldout")
            live.panel("diary.js", elem_id="diary")
    _listen(lab, fields, recipe=recipe, start=start, notice=notice, own_prompts=own_prompts, status=status)
    _warn_of_unwise_settings(fields, cautions)
    _tell_memory(lab, fields, memory)
    return fields


def _warn_of_unwise_settings(fields: Fields, cautions: gr.HTML) -> None:
    """Says what to reconsider, as settings are changed by hand, by a recipe or by another run's."""

    def check(*values: Any) -> str:
        return requests.cautions_of(values)

    changes = [control.change for control in fields.controls]  # type: ignore[attr-defined]
    gr.on(changes, check, fields.controls, cautions, trigger_mode="always_last", api_visibility="private", **QUICK)


def _tell_memory(lab: Lab, fields: Fields, memory: gr.HTML) -> None:
    """Says what memory a run will take, once the page is there and as settings change; nothing waits for it.

    The first question has the lab load what its first run needs, so that Start is followed by pictures sooner.
    """

    def reckon(*values: Any) -> str:
        return requests.memory_of(lab, values)

    settings = fields.controls_of(requests.MEMORY_SETTINGS)
    gr.on(None, reckon, settings, memory, js=AFTER_THE_REST, trigger_mode="always_last", api_name="memory", **QUICK)


def _first_config(recipes: list[Recipe]) -> RunConfig:
    """The first recipe's settings. A broken one gives the defaults here, and its error when it is chosen."""
    try:
        return load_recipe(recipes[0].name) if recipes else RunConfig()
    except LabError:
        return RunConfig()


def _recipe_choice(recipes: list[Recipe]) -> gr.Dropdown:
    choices = [one.name for one in recipes] or [DEFAULTS]
    about = recipes[0].about if recipes else ""
    return gr.Dropdown(choices, value=choices[0], label="Recipe", info=about, elem_id="recipe", scale=2, min_width=200)


def _draw_settings(lab: Lab, live: Live, fields: Fields) -> gr.Textbox:
    """All settings: the important ones open, the rest folded away. Returns the box for own prompts."""
    gr.HTML('<h2 class="lab-section">Settings of the next run</h2>', js_on_load=None)
    with gr.Group():
        fields.draw("reward.train", label="Reward")
        prompts = draw_prompts(lab, live, fields)
        fields.draw("model.folder", label="Model folder")
        fields.draw_important()
    with gr.Accordion("More settings", open=False, elem_id="more-settings"):
        draw_examined_prompts(lab, fields)
        fields.draw_rest()
    offer_brought_files(lab, fields, prompts)
    return prompts.own


def _listen(
    lab: Lab,
    fields: Fields,
    *,
    recipe: gr.Dropdown,
    start: gr.Button,
    notice: gr.HTML,
    own_prompts: gr.Textbox,
    status: gr.HTML,
) -> None:
    def choose(name: str) -> list[Any]:
        try:
            config = RunConfig() if name == DEFAULTS else load_recipe(name)
        except LabError as error:
            return [str(error), gr.skip(), *[gr.skip()] * len(fields.controls)]
        about = next((one.about for one in list_recipes() if one.name == name), "")
        return ["", gr.update(info=about), *values_of(config)]

    def allow_start() -> Any:
        return gr.update(interactive=lab.reader.live_run() is None)

    def begin(own: str, *values: Any) -> list[Any]:
        try:
            requests.start(lab, own, values)
        except LabError as error:
            return [str(error), gr.skip()]
        return ["", allow_start()]

    recipe.input(choose, recipe, [notice, recipe, *fields.controls], api_name="choose_recipe", **QUICK)
    started = start.click(begin, [own_prompts, *fields.controls], [notice, start], api_name="start", **QUICK)
    started.then(None, js="() => window.dispatchEvent(new Event('lab:follow'))")
    # Always last: a run may begin and fail while the answer to its beginning is under way.
    status.liveness(allow_start, None, start, trigger_mode="always_last", api_visibility="private", **QUICK)
