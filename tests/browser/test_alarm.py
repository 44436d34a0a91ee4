"""An alarm of the watch in a real Chromium: named in the status card, shown by its pictures, able to pause the run."""

from __future__ import annotations

from random import Random

import pytest
from lab_folder import PATIENCE_SECONDS, lab_config, opened
from synthetic import HOSTILE, fill_live_run, picture, preview, step_done

from dgpo_core.config import RunConfig, from_dict
from dgpo_core.events import Examined, Phase, PhaseChanged, Resume, Warned

pytestmark = pytest.mark.browser

NUM_STEPS = 4
ARE_LOADED = "[...document.querySelectorAll('#alarms img')].every((one) => one.naturalWidth > 0)"
PAUSING = {"name": "shapes, watched", "reward": {"watch": "clipscore", "on_alarm": "pause"}}
REWARDS = '''
class Rising:
    """A reward that rises each time it is asked, whatever it is shown."""

    num_asked = 0
    sign = 1

    def __call__(self, pictures, prompts):
        self.num_asked += 1
        return [self.sign * self.num_asked / 10 + index / 100 for index in range(len(pictures))]


class Falling(Rising):
    sign = -1
'''


def fill(writer):
    fill_live_run(writer, NUM_STEPS, from_dict(PAUSING))


def alarm(step, prompts=("a red circle", "two blue squares", HOSTILE)):
    samples = tuple(
        Examined(
            prompt=prompt,
            category="clipscore",
            seed=2**60 + number,
            score=0.18 + number / 100,
            details=f"0.31 before, {0.18 + number / 100:.3g} now",
            png=picture(Random(100 * step + number)),
        )
        for number, prompt in enumerate(prompts)
    )
    message = (
        f"The reward may be gamed: the held-out score rose from 0.55 to 0.8{step} since step 0, while clipscore fell "
        "from 0.301 to 0.262. Look at the pictures; raise loss.kl_weight, or stop and go back to an earlier checkpoint."
    )
    return Warned(step=step, message=message, samples=samples)


def raise_alarm(lab, step):
    """What a run does that pauses at an alarm."""
    lab.writer.record(1, alarm(step))
    lab.writer.record(1, PhaseChanged(step=step, phase=Phase.PAUSED, done=0, total=1))
    lab.writer.flush()


def test_an_alarm_is_named_in_the_status_card_and_shown_by_its_pictures(open_lab, open_page, take_picture):
    lab = open_lab(fill)
    page = open_page(lab.url)
    status, alarms = page.locator("#status"), page.locator("#alarms")
    page.wait_for_selector("#wall .lab-tile img")
    assert alarms.is_hidden()
    assert status.get_by_role("alert").filter(has_text="Alarm").count() == 0
    asked_for = page.locator("#previews .lab-tile").count()
    raise_alarm(lab, NUM_STEPS)
    said = status.get_by_role("alert").filter(has_text=f"Alarm at step {NUM_STEPS}.")
    said.wait_for()
    assert "since step 0, while clipscore fell from 0.301 to 0.262." in said.text_content()
    assert "Look at the pictures" not in said.text_content()
    status.get_by_text("Paused by the alarm: look at its pictures.").wait_for()
    alarms.get_by_text(f"Alarm at step {NUM_STEPS}", exact=True).wait_for()
    assert "raise loss.kl_weight" in alarms.locator("p").text_content()
    assert alarms.locator(".lab-caption").all_text_contents() == ["a red circle", "two blue squares", HOSTILE]
    assert alarms.locator(".lab-fall").first.text_content() == "0.31 before, 0.18 now"
    assert page.locator("#previews .lab-tile").count() == asked_for
    page.wait_for_function(ARE_LOADED)
    take_picture(page, "alarm", full_page=True)
    page.reload()
    alarms.locator(".lab-tile img").first.wait_for()
    said.wait_for()


def test_the_status_card_leads_to_the_pictures_by_keyboard_and_older_alarms_are_folded_away(
    open_lab, open_page, take_picture
):
    lab = open_lab(fill)
    raise_alarm(lab, NUM_STEPS)
    lab.writer.record(1, step_done(NUM_STEPS))
    raise_alarm(lab, NUM_STEPS + 1)
    page = open_page(lab.url, viewport={"width": 390, "height": 600})
    alarms = page.locator("#alarms details")
    alarms.first.wait_for()
    titles = [f"Alarm at step {step}" for step in (NUM_STEPS + 1, NUM_STEPS)]
    assert alarms.locator("strong").all_text_contents() == titles
    assert [alarms.nth(place).evaluate("(node) => node.open") for place in (0, 1)] == [True, False]
    alarms.first.locator("summary").click()
    assert not alarms.first.locator(".lab-tile").first.is_visible()
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="See its pictures").focus()
    page.keyboard.press("Enter")
    tile = alarms.first.locator(".lab-tile").first
    tile.wait_for()
    assert alarms.first.bounding_box()["y"] < 100
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    facts = dict(zip(dialog.locator("dt").all_text_contents(), dialog.locator("dd").all_text_contents(), strict=True))
    assert (facts["Verdict"], facts["Seed"]) == ("0.31 before, 0.18 now", str(2**60))
    page.keyboard.press("Escape")
    take_picture(page, "alarm-phone", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_run_that_does_not_pause_keeps_its_alarm_and_another_run_has_none(open_lab, open_page):
    def two_runs(writer):
        fill_live_run(writer, 1, RunConfig(name="not watched"))
        fill_live_run(writer, NUM_STEPS)
        writer.record(2, alarm(NUM_STEPS))
        writer.record(2, step_done(NUM_STEPS))
        writer.record(2, preview(NUM_STEPS))
        writer.flush()

    lab = open_lab(two_runs)
    page = open_page(lab.url, "/?run=2")
    page.locator("#status").get_by_text(f"Alarm at step {NUM_STEPS}.").wait_for()
    assert page.get_by_text("Paused by the alarm").count() == 0
    page.evaluate("dispatchEvent(new CustomEvent('lab:show', { detail: 1 }))")
    page.get_by_role("heading", name="not watched").wait_for()
    page.locator("#alarms").wait_for(state="hidden")
    assert page.locator("#status").get_by_text("Alarm at step").count() == 0


def test_a_run_whose_watched_reward_falls_pauses_with_its_pictures_and_goes_on_when_told(
    open_lab, open_page, take_picture, model_folder
):
    lab = open_lab()
    (lab.folder / "rewards.py").write_text(REWARDS)
    rewards = {"train": "rewards.py:Rising", "evaluation": "rewards.py:Rising", "watch": "rewards.py:Falling"}
    config = lab_config(
        lab.folder,
        model_folder,
        reward=rewards | {"on_alarm": "pause"},
        schedule={"num_steps": 4, "evaluate_every": 2, "evaluation_prompts": 3},
    )
    page = open_page(lab.url)
    page.get_by_text("Choose a recipe and press Start").wait_for()
    with opened(lab.folder) as (runner, _):
        run_id = runner.start(config)
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        status = page.locator("#status")
        status.get_by_text("Paused by the alarm").wait_for()
        status.get_by_text("Alarm at step 2.").wait_for()
        page.locator("#alarms .lab-tile img").first.wait_for()
        page.wait_for_function(ARE_LOADED)
        assert {*page.locator("#alarms .lab-caption").all_text_contents()} == {"a fish", "a horse", "a cow"}
        assert lab.reader.latest_step(run_id) == 1
        take_picture(page, "alarm-of-a-run", full_page=True)
        status.get_by_role("button", name="Go on").click()
        assert runner.wait(PATIENCE_SECONDS)
        status.locator("[data-state=finished]").wait_for()
        page.locator("#alarms").get_by_text("Alarm at step 2", exact=True).wait_for()
    assert [command for _, command in lab.actions.sent] == [Resume()]
