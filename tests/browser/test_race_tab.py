"""The Race tab in a real Chromium, over a race that the real Writer filled."""

from __future__ import annotations

import pytest
from synthetic import evaluation, metrics, step_done

from app.race.plan import plan_of
from app.store.requests import RacePlace
from app.store.writer import Writer
from app.ui.charts import MAX_RUNS
from dgpo_core.config import RunConfig, to_dict, with_setting
from dgpo_core.events import EvaluationDone, RunStarted, StepDone

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

PLAN = plan_of(
    {
        "against": "flow_grpo",
        "seeds": [0],
        "learning_rates": [1e-4],
        "entrants": {"dgpo": {}, "flow_grpo": {"algorithm.name": "flow_grpo", "rollout.sampler": "flow_sde"}},
    },
    "sprint",
)


COSTS = {
    "steps": lambda point: point.step,
    "minutes of training": lambda point: point.seconds / 60,
    "pictures drawn": lambda point: point.pictures,
    "network evaluations": lambda point: point.network_evaluations,
}


def fill(writer: Writer) -> None:
    """Two entrants, each with another number of pictures than its settings say, as one that recalls stored groups."""
    race_id = writer.create_race(PLAN.name, PLAN.as_dict())
    for entrant, stride in (("dgpo", 10), ("flow_grpo", 4)):
        config = with_setting(to_dict(RunConfig(name=f"sprint: {entrant}")), "rollout.group_size", 7)
        run_id = writer.create_run(config, 100)
        place = RacePlace(entrant=entrant, learning_rate=1e-4, seed=0, is_tuning=False)
        writer.enter(race_id, run_id, place)
        writer.record(run_id, RunStarted(first_step=0, num_steps=100, num_trainable=1))
        for step in range(4):
            writer.record(run_id, evaluation(stride * step))
            for one in range(stride * step, stride * step + stride):
                writer.record(run_id, step_done(one))
    writer.flush()


@pytest.fixture
def open_race_tab(open_lab, open_page):
    """Opens a lab, filled by a function if one is given, and its Race tab."""

    def opened(*fill):
        lab = open_lab(*fill)
        page = open_page(lab.url)
        page.get_by_role("tab", name="Race").click()
        return lab, page

    return opened


def test_standings_and_curves_of_a_race(open_race_tab):
    lab, page = open_race_tab(fill)
    standings = page.locator("#race-standings")
    expect(standings).to_contain_text("flow_grpo")
    expect(page.locator("#race-heading")).to_contain_text("the best score of flow_grpo")
    expect(page.locator("#race-curves .js-plotly-plot").first).to_be_visible()
    expect(page.locator("#race-curves")).to_contain_text("sprint: dgpo")
    curves, entered = page.locator("#race-curves"), lab.reader.race_runs(1)
    for axis, cost in COSTS.items():
        curves.get_by_role("radio", name=axis, exact=True).check()
        expect(curves.locator(".xtitle").first).to_have_text(axis)
        expected = [[cost(point) for point in run.points] for run in entered]
        found = curves.locator("[data-chart=score] .lab-plot").evaluate("(plot) => plot.data.map((line) => line.x)")
        assert found == [pytest.approx(places, rel=1e-4) for places in expected], axis
    expect(page.locator("#race-not-drawn .lab-words")).to_be_hidden()


def test_the_words_above_a_wide_table_stay_in_sight(open_race_tab):
    _, page = open_race_tab(fill)
    standings = page.locator("#race-standings")
    expect(standings).to_contain_text("flow_grpo")
    page.set_viewport_size({"width": 640, "height": 900})
    scroller, words = standings.locator(".scroller"), standings.locator("caption span")
    scroller.evaluate("(one) => { one.scrollLeft = one.scrollWidth; }")
    frame, box = scroller.bounding_box(), words.bounding_box()
    assert scroller.evaluate("(one) => one.scrollWidth > one.clientWidth")
    assert frame["x"] <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"]


def fill_with_many(writer: Writer) -> None:
    """A race of one more entrant than can be told apart."""
    names = [f"entrant {number}" for number in range(MAX_RUNS + 1)]
    plan = plan_of({"against": names[0], "seeds": [0], "entrants": {name: {} for name in names}}, "crowd")
    race_id = writer.create_race(plan.name, plan.as_dict())
    for name in names:
        run_id = writer.create_run(to_dict(RunConfig(name=name)), 100)
        writer.enter(race_id, run_id, RacePlace(entrant=name, learning_rate=1e-4, seed=0, is_tuning=False))
        writer.record(run_id, RunStarted(first_step=0, num_steps=100, num_trainable=1))
        writer.record(run_id, StepDone(step=0, groups=(), metrics=metrics(0)))
        writer.record(run_id, EvaluationDone(step=1, policy="averaged", score=0.5, quality=(), samples=()))
    writer.flush()


def test_curves_of_a_large_race_differ_and_those_left_out_are_said(open_race_tab):
    _, page = open_race_tab(fill_with_many)
    expect(page.locator("#race-not-drawn")).to_contain_text(f"the first {MAX_RUNS} of these {MAX_RUNS + 1} runs")
    plot = page.locator("#race-curves [data-chart=score] .lab-plot")
    expect(plot.locator(".main-svg").first).to_be_visible()
    looks = plot.evaluate("(plot) => plot.data.map((line) => `${line.line.color} ${line.line.dash}`)")
    assert (len(looks), len(set(looks))) == (MAX_RUNS, MAX_RUNS)


def test_without_a_race_the_tab_says_how_to_start_one(open_race_tab):
    _, page = open_race_tab()
    expect(page.locator("#race-heading")).to_contain_text("python -m app race shapes")


def test_a_race_is_begun_and_stopped_from_the_tab(open_race_tab):
    lab, page = open_race_tab()
    page.get_by_role("button", name="Start the race").click()
    expect(page.locator("#race-state")).to_contain_text("The race shapes is on")
    assert lab.actions.raced == ["shapes"]
    page.get_by_role("button", name="Stop the race").click()
    expect(page.locator("#race-state")).to_be_hidden()
    assert lab.actions.raced == ["shapes", ""]


def test_a_race_of_ones_own_is_begun_by_its_path(open_race_tab):
    lab, page = open_race_tab()
    page.locator("#race-plan input").fill("races/mine.yaml")
    page.locator("#race-plan input").press("Enter")
    page.get_by_role("button", name="Start the race").click()
    expect(page.locator("#race-state")).to_contain_text("The race races/mine.yaml is on")
    assert lab.actions.raced == ["races/mine.yaml"]
