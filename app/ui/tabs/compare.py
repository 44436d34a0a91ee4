"""The Compare tab: ask for the same prompts and seeds before and after, and look at what was stored."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.lab import Lab
from app.store.reader import Reader
from app.ui import comparison_request as asking
from app.ui import comparison_views as views
from app.ui.changes import QUICK, changes_panel, stored_choice
from app.ui.live import Live
from dgpo_core.config import settings
from dgpo_core.errors import LabError
from dgpo_core.events import Phase


def compare_tab(lab: Lab, live: Live) -> None:
    """Draws the tab. All it shows comes from the store; the tab itself remembers only what is chosen."""
    reader = lab.reader
    changes = changes_panel(live, topic="compare", fingerprint=lambda _: _fingerprint(reader))
    shown = gr.State(None)  # the comparison whose pictures are drawn
    with gr.Row(elem_id="compare-form", equal_height=True):
        run = stored_choice(
            label="Run", info="Live, or with a checkpoint.", elem_id="compare-run", scale=5, min_width=260
        )
        after = stored_choice(
            label="Compare the base with",
            info="Same prompts, same seeds.",
            elem_id="compare-after",
            scale=3,
            min_width=220,
        )
        numbers = _numbers()
        ask = gr.Button("Compare", variant="primary", elem_id="compare-ask", interactive=False, scale=1, min_width=140)
    trouble = live.panel("words.js", elem_id="compare-trouble", elem_classes="trouble")
    stored = stored_choice(label="Stored comparisons", elem_id="compare-stored")
    status = live.panel("words.js", elem_id="compare-status")
    gallery = live.panel("before_after.js", elem_id="compare-gallery")
    scores = live.panel("table.js", elem_id="compare-scores")

    def refresh(run_id: int | None, choice: str | None, comparison: int | None, seen: int | None) -> list[Any]:
        return [*_form(reader, run_id, choice), *_opened(reader, comparison, seen)]

    def request(run_id: int | None, choice: str | None, *numbers: Any) -> list[Any]:
        num_prompts, first_seed, guidance, steps = numbers
        try:
            wish = asking.wish(run_id, choice, num_prompts, first_seed)
            comparison = lab.actions.request_comparison(*wish, drawing=asking.drawing(guidance, steps))
        except LabError as error:
            return [str(error), *[gr.skip()] * 5]
        return ["", *_opened(reader, comparison, None)]

    form, opened = [run, after, ask], [stored, status, gallery, scores, shown]
    changes.stale(
        refresh,
        [run, after, stored, shown],
        form + opened,
        trigger_mode="always_last",
        api_name="compare_refresh",
        **QUICK,
    )
    run.input(lambda run_id: _form(reader, run_id, None), run, form, api_name="compare_run", **QUICK)
    ask.click(request, [run, after, *numbers], [trouble, *opened], api_name="compare", **QUICK)
    stored.input(lambda one: _opened(reader, one, None), stored, opened, api_name="compare_open", **QUICK)


def _numbers() -> list[gr.Number]:
    """How many prompts from which seed, and with what guidance and steps, which are the run's own at 0."""
    allowed = {one.path: one.knob.allowed() for one in settings()}
    guidance, steps = allowed["rollout.guidance_scale"], allowed["rollout.num_sampling_steps"]
    return [
        gr.Number(60, label="Held-out prompts", info="1 to 10000", elem_id="compare-prompts", scale=2),
        gr.Number(0, label="Seed", info="0 to 2147483647", elem_id="compare-seed", scale=2),
        gr.Number(0, label="Guidance", info=f"{guidance}; 0: the run's", elem_id="compare-guidance", scale=2),
        gr.Number(0, label="Sampling steps", info=f"{steps}; 0: the run's", elem_id="compare-steps", scale=2),
    ]


def _fingerprint(reader: Reader) -> Any:
    """Differs when a list of this tab or the progress of a comparison does, not with every step of a run."""
    live = reader.live_run()
    progress = (live.phase, live.phase_done) if live and live.phase == Phase.COMPARING else None
    saved = [one.step for one in reader.checkpoints(live.id)] if live else []
    return [(run.id, run.name, run.state) for run in reader.runs()], reader.comparisons(), saved, progress


def _form(reader: Reader, run_id: int | None, choice: str | None) -> list[Any]:
    """The chosen run (else the live one, else the newest) with what of it can be compared, and the button."""
    runs = reader.runs()
    run = asking.chosen_run(runs, run_id)
    options = asking.checkpoint_choices(run, reader.checkpoints(run.id)) if run else []
    known = [value for _, value in options]
    choice = choice if choice in known else next(iter(known), None)
    return [
        gr.update(choices=asking.run_choices(runs), value=run.id if run else None),
        gr.update(choices=options, value=choice),
        gr.update(interactive=choice is not None),
    ]


def _opened(reader: Reader, comparison_id: int | None, seen: int | None) -> list[Any]:
    """The chosen comparison (else the newest): its entry, its words, its pictures, its scores, its number if drawn."""
    comparisons, runs = reader.comparisons(), reader.runs()
    entries = asking.comparison_choices(comparisons, runs)
    known = {one.id: one for one in comparisons}
    chosen = known.get(comparison_id or 0) or known.get(max(known, default=0))
    if chosen is None:
        return [gr.update(choices=[], value=None), asking.advice(runs), None, None, None]
    entry = gr.update(choices=entries, value=chosen.id)
    if not chosen.is_done:
        run = next((run for run in runs if run.id == chosen.run_id), None)
        return [entry, asking.progress(run, chosen), None, None, None]
    if chosen.id == seen:
        return [entry, *[gr.skip()] * 4]
    pairing = views.paired(reader.examined("comparison", chosen.id))
    return [
        entry,
        views.summary(pairing, chosen.drawing),
        views.gallery(chosen, pairing),
        views.score_table(pairing.pairs),
        chosen.id,
    ]
