"""The Train tab in a real Chromium, over a store that the real Writer filled."""

from __future__ import annotations

import pytest
from store_actions import StoreActions
from synthetic import HOSTILE, evaluation, fill_live_run, metrics, step_done

from app.store.rows import RunState
from app.ui.charts import RUN_CHARTS
from app.ui.train_views import seconds_left, side
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import (
    EndReason,
    Pause,
    Phase,
    PhaseChanged,
    RunEnded,
    RunFailed,
    RunStarted,
    SampleNow,
    SaveNow,
    Stop,
    Warned,
)

pytestmark = pytest.mark.browser

NUM_STEPS = 12
X_RANGE = "document.querySelector('[data-chart=reward] .lab-plot')._fullLayout.xaxis.range.map(Number)"
X_TITLE = "document.querySelector('[data-chart=reward] .lab-plot')._fullLayout.xaxis.title.text"
NUM_POINTS = "document.querySelector('[data-chart=reward] .lab-plot').data.at(-1).x.length"


def fill(writer):
    fill_live_run(writer, NUM_STEPS)


def test_the_wall_and_the_curves_appear_and_grow_with_new_steps(open_lab, open_page, take_picture):
    lab = open_lab(fill)
    page = open_page(lab.url)
    page.wait_for_selector("#wall .lab-tile img")
    assert page.locator("#wall .lab-group").count() == 6
    assert page.locator("#wall .lab-group").first.locator(".lab-tile").count() == 16
    assert page.locator("#wall h3").all_text_contents()[-1] == HOSTILE
    groups = lab.reader.groups(1, NUM_STEPS - 1)
    for place in (0, 1):
        assert drawing_of_group(page, place) == expected_drawing(groups[place], groups)
    assert page.locator("#wall .lab-gate").count() == sum(group.has_preference for group in groups) == 5
    assert sides_of_the_wall(page) == {"preferred": {"+", "solid"}, "dispreferred": {"\u2212", "dotted"}}
    page.wait_for_selector("[data-chart=reward] .main-svg")
    assert page.evaluate(NUM_POINTS) == NUM_STEPS
    lab.writer.record(1, step_done(NUM_STEPS))
    lab.writer.flush()
    page.wait_for_function(f"{NUM_POINTS} === {NUM_STEPS + 1}", timeout=5000)
    page.get_by_text(f"step {NUM_STEPS}", exact=True).wait_for()
    words = page.locator("#status").get_by_text(f"{NUM_STEPS + 1} of 600 steps done")
    assert words.count() == 1
    minutes_left = round(seconds_left(lab.reader.run(1)) / 60)
    assert words.text_content() == f"{NUM_STEPS + 1} of 600 steps done, about {minutes_left} min left"
    inside, around = words.bounding_box(), words.locator("..").bounding_box()
    assert inside["y"] + inside["height"] <= around["y"] + around["height"] + 1, "the words are cut off by their box"
    take_picture(page, "train-light")
    take_picture(page, "train-light-full", full_page=True)


def drawing_of_group(page, place):
    """The numbers, the gate's meter, the strip's dots and the advantages that one group shows."""
    row = page.locator("#wall .lab-group").nth(place)
    return {
        "numbers": row.locator(".lab-numbers").text_content(),
        "gate": row.locator(".lab-gate meter").evaluate("(meter) => meter.value"),
        "gate in words": row.locator(".lab-gate").text_content(),
        "dots": row.locator(".lab-strip circle").evaluate_all("(dots) => dots.map((one) => one.cx.baseVal.value)"),
        "advantages": row.locator(".lab-advantage").all_text_contents(),
    }


def expected_drawing(group, groups):
    """What drawing_of_group should find; all groups of a step have one axis from 4 to 116."""
    rewards = [sample.reward for one in groups for sample in one.samples if sample.reward is not None]
    low, high = min(rewards), max(rewards)
    own = [sample.reward for sample in group.samples if sample.reward is not None]
    return {
        "numbers": f"mean {group.reward_mean:.2f} ± {group.reward_std:.2f}",
        "gate": pytest.approx(group.gate, rel=1e-4),
        "gate in words": f"gate {group.gate:.2f}",
        "dots": pytest.approx([4 + 112 * (reward - low) / (high - low) for reward in own], abs=1e-3),
        "advantages": [signed(sample.advantage, 1) for sample in group.samples],
    }


def signed(value, digits):
    """A number as signed() of format.js writes it."""
    sign = "\u2212" if value < 0 else "+"
    return f"{sign}{abs(value):.{digits}f}"


def test_every_chart_shows_the_numbers_of_the_run(open_lab, open_page):
    page = open_page(open_lab(fill).url)
    expected = last_values(metrics(NUM_STEPS - 1), evaluation(10))
    assert {key.partition("-")[0] for key in expected} == {chart.key for chart in RUN_CHARTS}
    page.wait_for_selector("[data-chart=time] .main-svg")
    found = {}
    for key in expected:
        plot = page.locator(f"[data-chart='{key}'] .lab-plot")
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
        found[key] = plot.evaluate("(plot) => plot.data.map((line) => line.y.at(-1))")
    assert found == expected
    assert page.locator("#curves [data-chart]").count() == len(expected)


def last_values(step, examined):
    """By chart the last value of each of its lines: two edges of a band come before the line that they are around."""
    by_category = {}
    for sample in examined.samples:
        by_category.setdefault(sample.category, []).append(sample.score)
    parts = ("sampling", "decoding", "scoring", "updating", "other")
    values = {
        "score": [examined.score],
        "reward": [step.reward_mean - step.reward_std, step.reward_mean + step.reward_std, step.reward_mean],
        "categories": [sum(scores) / len(scores) for scores in by_category.values()],
        **{f"quality-{name}": [value] for name, value in examined.quality},
        "preference": [step.preference_fraction],
        "gate": [step.gate],
        "clipped": [step.clipped_fraction],
        "kl": [step.kl],
        "gradient": [step.grad_norm],
        "time": [getattr(step, f"{part}_seconds") for part in parts],
    }
    return {key: pytest.approx(lines, rel=1e-4) for key, lines in values.items()}


def sides_of_the_wall(page):
    """The signs that the tiles of either side show, and the styles of the borders around them."""
    return {
        side: {
            *page.locator(f"#wall .lab-side.{side} .lab-tile .lab-sign").all_text_contents(),
            *page.locator(f"#wall .lab-side.{side}").evaluate_all(
                "(sides) => sides.map((one) => getComputedStyle(one).borderTopStyle)"
            ),
        }
        for side in ("preferred", "dispreferred")
    }


def test_zoom_survives_an_update_and_a_change_back_of_the_axis(open_lab, open_page):
    lab = open_lab(fill)
    page = open_page(lab.url)
    page.wait_for_selector("[data-chart=reward] .main-svg")
    plot = page.locator("[data-chart=reward] .lab-plot .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 140, steps=5)
    page.mouse.up()
    page.wait_for_function(f"{X_RANGE}[0] > 2")
    zoomed = page.evaluate(X_RANGE)
    lab.writer.record(1, step_done(NUM_STEPS))
    lab.writer.flush()
    page.wait_for_function(f"{NUM_POINTS} === {NUM_STEPS + 1}", timeout=5000)
    assert page.evaluate(X_RANGE) == zoomed
    page.get_by_label("pictures drawn").first.check()
    page.wait_for_function(f"{X_TITLE} === 'pictures drawn'")
    assert page.evaluate(X_RANGE) != zoomed
    page.get_by_label("steps", exact=True).first.check()
    page.wait_for_function(f"{X_TITLE} === 'steps'")
    assert page.evaluate(X_RANGE) == zoomed


def test_a_sample_is_reached_and_enlarged_by_keyboard_alone(open_lab, open_page, take_picture):
    lab = open_lab(fill)
    page = open_page(lab.url)
    page.wait_for_selector("#wall .lab-tile img")
    page.get_by_role("button", name="Live", exact=True).focus()
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.closest('#wall .lab-tile') !== null")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    group = lab.reader.groups(1, NUM_STEPS - 1)[1]
    facts = dict(zip(dialog.locator("dt").all_text_contents(), dialog.locator("dd").all_text_contents(), strict=True))
    assert facts["Seed"] == str(group.samples[1].seed)
    assert facts["Reward"] == f"{group.samples[1].reward:.4f}"
    advantage = signed(group.samples[1].advantage, 3)
    assert facts["Advantage"] == f"{advantage} ({side(group.samples[1], group)})"
    take_picture(page, "train-large")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("dd").last.text_content() == str(group.samples[2].seed)
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.closest('#wall .lab-tile') !== null")


def test_a_group_without_preference_says_why_when_it_is_focused(open_lab, open_page):
    page = open_page(open_lab(fill).url)
    flag = page.locator("#wall .lab-flag").first
    flag.focus()
    assert "nothing to prefer" in flag.get_attribute("aria-label")
    assert "nothing to prefer" in flag.evaluate("(node) => getComputedStyle(node, '::after').content")


def test_a_reload_and_a_second_page_show_the_same_run(open_lab, open_page):
    lab = open_lab(fill)
    page, other = open_page(lab.url), open_page(lab.url)
    for one in (page, other):
        one.wait_for_selector("#wall .lab-tile img")
    page.reload()
    page.wait_for_selector("#wall .lab-tile img")
    assert page.locator("#wall .lab-groups").inner_text() == other.locator("#wall .lab-groups").inner_text()


def test_the_buttons_send_commands_and_follow_the_state(open_lab, open_page):
    lab = open_lab(fill)
    page = open_page(lab.url)
    status = page.locator("#status")
    status.get_by_role("button", name="Save now").click()
    status.get_by_text("A checkpoint will be saved after this step.").wait_for()
    status.get_by_role("button", name="Pause").click()
    status.get_by_role("button", name="Pausing after this step").wait_for()
    assert status.get_by_role("button", name="Stop").is_enabled()
    lab.writer.record(1, PhaseChanged(step=NUM_STEPS, phase=Phase.PAUSED, done=0, total=0))
    lab.writer.flush()
    status.locator("[data-state=paused]").wait_for()
    assert status.get_by_role("button", name="Pause").count() == 0
    assert status.get_by_role("button", name="Go on").is_enabled()
    page.locator("#previews textarea").fill("a cat\na dog")
    page.get_by_role("button", name="Sample now").click()
    page.get_by_text("The pictures are drawn after this step.").wait_for()
    lab.writer.record(1, Warned(step=NUM_STEPS, message="There is no dog to be judged."))
    lab.writer.flush()
    page.locator("#previews").get_by_text("There is no dog to be judged.").wait_for()
    status.get_by_role("button", name="Stop").click()
    page.wait_for_timeout(300)
    sent = [command for _, command in lab.actions.sent]
    assert sent == [SaveNow(), Pause(), SampleNow(("a cat", "a dog"), 0), Stop()]
    lab.writer.record(1, RunEnded(step=NUM_STEPS - 1, reason=EndReason.STOPPED))
    lab.writer.flush()
    status.locator("[data-state=stopped]").wait_for()
    assert status.get_by_text(f"{NUM_STEPS} of 600 steps done", exact=True).count() == 1
    assert status.get_by_role("button", name="Stop").is_disabled()
    status.get_by_role("button", name="Resume").click()
    status.locator("[data-state=starting]").wait_for()
    assert lab.actions.resumed == [1]


def test_a_failed_run_shows_its_message_and_folds_its_traceback(open_lab, open_page, take_picture):
    lab = open_lab(fill)
    page = open_page(lab.url)
    lab.writer.record(1, RunFailed(step=NUM_STEPS, message="The loss is not finite.", details="Traceback\n  <b>x</b>"))
    lab.writer.flush()
    status = page.locator("#status")
    status.get_by_text("The loss is not finite.").wait_for()
    assert not status.locator("pre").is_visible()
    status.get_by_text("Details of the failure").click()
    assert status.locator("pre").text_content() == "Traceback\n  <b>x</b>"
    take_picture(page, "train-failed")


def test_start_refuses_a_bad_setting_beside_the_form_and_starts_a_good_one(open_lab, open_page, take_picture):
    lab = open_lab()
    page = open_page(lab.url)
    page.get_by_text("Choose a recipe and press Start").wait_for()
    take_picture(page, "train-empty")
    size = page.get_by_label("Group size")
    size.fill("1")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("rollout.group_size must be 2 to 256, got 1. Pictures drawn per prompt.").wait_for()
    size.fill("8")
    page.get_by_role("button", name="Start").click()
    page.locator("#status").locator("[data-state=starting]").wait_for()
    assert page.get_by_role("button", name="Start").is_disabled()
    assert [config.rollout.group_size for config in lab.actions.started] == [8]
    assert lab.reader.live_run().state is RunState.STARTING


def test_start_can_be_pressed_again_after_a_run_that_failed_at_once(open_lab, open_page):
    class FailingActions(StoreActions):
        def start(self, config):
            run_id = super().start(config)
            self.writer.record(run_id, RunFailed(step=0, message=f"Run {run_id} has no model.", details=""))
            self.writer.flush()
            return run_id

    lab = open_lab(actions=FailingActions)
    page = open_page(lab.url)
    for number in (1, 2):
        page.locator("#start").click()
        page.locator("#status").get_by_text(f"Run {number} has no model.").wait_for()
        page.wait_for_function("!document.querySelector('#start').disabled")
    lab.writer.resume_run(2)
    lab.writer.flush()
    page.wait_for_function("document.querySelector('#start').disabled")


def test_a_page_opened_in_trouble_says_so_and_shows_everything(open_lab, open_page):
    lab = open_lab(fill)
    lab.actions.troubled = "The disk is full."
    page = open_page(lab.url)
    page.locator("#heartbeat").get_by_text("The disk is full.").wait_for()
    page.wait_for_selector("#wall .lab-tile img")
    lab.actions.troubled = ""
    page.locator("#heartbeat p").wait_for(state="hidden")


def test_when_the_last_run_is_deleted_nothing_of_it_is_left(open_lab, open_page):
    lab = open_lab(fill)
    page = open_page(lab.url)
    page.wait_for_selector("#wall .lab-tile img")
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    lab.writer.record(1, RunEnded(step=NUM_STEPS - 1, reason=EndReason.STOPPED))
    lab.writer.delete_run(1)
    page.get_by_role("heading", name="No run yet").wait_for()
    page.locator("#diary").wait_for(state="hidden")
    assert page.locator(".lab-tile").count() == 0
    assert page.locator("#status button:visible").count() == 0
    assert page.locator("#heldout").is_hidden()


def test_the_first_pictures_are_the_heldout_ones_until_there_is_a_group(open_lab, open_page, take_picture):
    def begin(writer):
        run_id = writer.create_run(to_dict(RunConfig(name="new")), 600)
        writer.record(run_id, RunStarted(first_step=0, num_steps=600, num_trainable=1))
        writer.record(run_id, evaluation(0))
        writer.flush()

    lab = open_lab(begin)
    page = open_page(lab.url)
    tiles = page.locator("#heldout .lab-tile")
    tiles.first.wait_for()
    scores = [float(text) for text in page.locator("#heldout .lab-reward").all_text_contents()]
    assert (len(scores), scores) == (24, sorted(scores))
    assert tiles.first.locator(".lab-sign").text_content() == "✗"
    assert tiles.first.bounding_box()["y"] < 900
    take_picture(page, "train-heldout", full_page=True)
    tiles.first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("button", name="Next").is_enabled()
    page.keyboard.press("Escape")
    lab.writer.record(1, step_done(0))
    lab.writer.flush()
    page.wait_for_selector("#wall .lab-tile img")
    tiles.first.wait_for(state="hidden")
    page.locator("#heldout summary").click()
    tiles.first.wait_for()
    lab.writer.record(1, step_done(1))
    lab.writer.flush()
    page.get_by_text("2 of 600 steps done").wait_for()
    assert tiles.first.is_visible()


def test_own_prompts_are_counted_and_used_as_they_were_typed(open_lab, open_page):
    lab = open_lab()
    page = open_page(lab.url)
    page.locator("#setting-prompts-train input").click()
    page.get_by_role("option", name="my own prompts (below)").click()
    page.locator("#own-prompts textarea").fill(f"{HOSTILE}\na red circle\na red circle")
    page.locator("#own-prompts textarea").blur()
    page.wait_for_function("document.querySelector('#own-prompts-found textarea').value.startsWith('2 prompts. 1 rep')")
    page.get_by_role("button", name="Start").click()
    page.locator("#status").locator("[data-state=starting]").wait_for()
    path = lab.folder / lab.actions.started[0].prompts.train
    assert path.read_text(encoding="utf-8") == f"{HOSTILE}\na red circle\n"


def test_dark_and_phone_pages_fit_their_width(open_lab, open_page, take_picture):
    lab = open_lab(fill)
    dark = open_page(lab.url, "/?__theme=dark", color_scheme="dark")
    phone = open_page(lab.url, viewport={"width": 390, "height": 844})
    for page, name in ((dark, "train-dark"), (phone, "train-phone")):
        page.wait_for_selector("#wall .lab-tile img")
        page.wait_for_selector("[data-chart=score] .main-svg")
        page.wait_for_timeout(500)
        take_picture(page, name)
        take_picture(page, f"{name}-full", full_page=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
