"""The Compare and Runs tabs in a real Chromium, over a store that the real Writer filled."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from PIL import Image, ImageDraw
from synthetic import CATEGORIES, HOSTILE, evaluation, metrics

from app.recipes import parse_recipe
from app.store.rows import RunState
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.events import (
    CheckpointSaved,
    ComparisonDone,
    Drawing,
    EndReason,
    Examined,
    Phase,
    PhaseChanged,
    RunEnded,
    RunFailed,
    RunStarted,
    StepDone,
    Warned,
)

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

FINISHED, FAILED, LIVE = 1, 2, 3
LIVE_NAME = "<b>bold</b> ${x} run"
HIGHER_RATE = {"name": "higher rate", "update": {"learning_rate": 1e-3}, "loss": {"kl_weight": 0.25}}
PAIRS = 30


def drawing(index: int, *, is_right: bool, is_blurred: bool) -> bytes:
    """A circle, square or triangle, goldenrod where it should have another colour."""
    image = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(image)
    colour = ("crimson", "royalblue", "seagreen")[index % 3] if is_right else "goldenrod"
    if index % 3 == 2:
        draw.polygon([(32, 12), (12, 52), (52, 52)], fill=colour)
    else:
        (draw.ellipse, draw.rectangle)[index % 3]((14, 14, 50, 50), fill=colour)
    if is_blurred:
        image = image.resize((16, 16)).resize((64, 64))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def compared(index: int, *, side: str) -> Examined:
    """Before, each third is right; after, all but each tenth; each thirteenth has no score."""
    is_right = index % 3 == 0 if side == "before" else index % 10 != 0
    return Examined(
        prompt=HOSTILE if index == 1 else f"a shape on white, number {index}",
        category=CATEGORIES[index % len(CATEGORIES)],
        seed=1000 + index,
        score=None if index % 13 == 12 else float(is_right),
        details="all found" if is_right else "missed the colour",
        png=drawing(index, is_right=is_right, is_blurred=side == "before"),
    )


def comparison(request_id: int, num_pairs: int = PAIRS) -> ComparisonDone:
    before, after = (tuple(compared(i, side=side) for i in range(num_pairs)) for side in ("before", "after"))
    return ComparisonDone(request_id=request_id, step=40, before=before, after=after)


def add_run(writer: Writer, config: RunConfig, num_steps: int) -> int:
    """A run of num_steps steps out of 40 that is left running."""
    run_id = writer.create_run(to_dict(config), 40)
    writer.record(run_id, RunStarted(first_step=0, num_steps=40, num_trainable=1000))
    for step in range(num_steps):
        if step % 10 == 0:
            writer.record(run_id, evaluation(step))
            writer.record(run_id, CheckpointSaved(step=step, folder=f"runs/{run_id}/{step}", num_bytes=5_400_000))
        writer.record(run_id, StepDone(step=step, groups=(), metrics=metrics(step)))
    writer.flush()
    return run_id


def add_finished(writer: Writer, name: str) -> int:
    run_id = add_run(writer, RunConfig(name=name), 40)
    writer.record(run_id, RunEnded(step=39, reason=EndReason.FINISHED))
    writer.flush()
    return run_id


def add_failed(writer: Writer) -> int:
    run_id = add_run(writer, from_dict(HIGHER_RATE), 25)
    writer.record(run_id, Warned(step=20, message="The gradient norm is ten times its median."))
    message = "The loss is not finite. Lower the learning rate."
    writer.record(run_id, RunFailed(step=24, message=message, details="Traceback\n  in loss.py"))
    writer.flush()
    return run_id


def fill(writer: Writer) -> None:
    """A finished run with a comparison, a failed one, and a live one; each test gets a lab of its own."""
    assert add_finished(writer, "first try") == FINISHED
    writer.record(FINISHED, comparison(writer.request_comparison(FINISHED, 30, PAIRS, 0)))
    assert add_failed(writer) == FAILED
    assert add_run(writer, RunConfig(name=LIVE_NAME), 15) == LIVE
    writer.record(LIVE, PhaseChanged(step=15, phase=Phase.SAMPLING, done=3, total=8))
    writer.flush()


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


@pytest.fixture
def open_tab(lab, open_page):
    def opened(tab: str, **options):
        page = open_page(lab.url, **options)
        page.get_by_role("tab", name=tab).click()
        return page

    return opened


def slider(page):
    return page.get_by_label("Share of the picture before")


def choose(page, dropdown: str, text: str) -> None:
    page.locator(f"{dropdown} input").click()
    page.get_by_role("option").filter(has_text=text).first.click()


def test_a_stored_comparison_is_seen_by_slider_grid_and_filters(lab, open_tab):
    page = open_tab("Compare")
    choose(page, "#compare-stored", "first try")
    expect(page.locator("#compare-status")).to_contain_text("17 better, 1 worse, 10 same.")
    expect(page.locator("#compare-status")).to_contain_text("2 pairs not counted: a picture without a score.")
    expect(page.locator("#compare-scores tbody tr")).to_have_count(1 + len(CATEGORIES))

    expect(slider(page)).to_have_attribute("aria-valuetext", "50% before, 50% after")
    slider(page).focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(slider(page)).to_have_attribute("aria-valuetext", "60% before, 40% after")
    before, after = page.locator(".stage img[alt^=before]"), page.locator(".stage img[alt^=after]")
    expect(before).to_have_css("clip-path", "inset(0px 40% 0px 0px)")
    expect(after).to_have_css("clip-path", "inset(0px 0px 0px 60%)")
    expect(before).to_have_css("image-rendering", "pixelated")

    page.locator(".before-after .pair").nth(1).click()
    assert page.locator(".before-after .prompt").text_content() == HOSTILE
    assert page.locator(".before-after .prompt *").count() == 0
    expect(slider(page)).to_be_focused()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".before-after .prompt")).to_have_text("a shape on white, number 2")

    page.locator("[data-verdict=worse]").click()
    expect(page.locator(".before-after .pair")).to_have_count(1)
    expect(page.locator(".before-after .facts")).to_contain_text("got worse")
    page.locator("[data-verdict=all]").click()
    expect(page.locator(".before-after .pair")).to_have_count(24)
    page.get_by_role("button", name="Show 6 more").click()
    expect(page.locator(".before-after .pair")).to_have_count(PAIRS)
    page.get_by_label("Category", exact=True).select_option(CATEGORIES[2])
    expect(page.locator(".before-after .pair")).to_have_count(PAIRS // len(CATEGORIES))


def test_holding_b_or_the_button_shows_one_whole_picture_at_a_time(lab, open_tab):
    page = open_tab("Compare")
    choose(page, "#compare-stored", "first try")
    stage = page.locator(".before-after .stage")
    expect(stage.locator("img")).to_have_count(2)
    slider(page).focus()
    page.keyboard.down("b")
    expect(stage).to_have_attribute("data-alone", "before")
    expect(stage.locator("img[alt^=before]")).to_have_css("clip-path", "inset(0px 0% 0px 0px)")
    expect(stage).to_have_attribute("data-alone", "after")
    page.keyboard.up("b")
    expect(stage).not_to_have_attribute("data-alone", re.compile(".*"))

    page.get_by_role("button", name="Hold to flicker").hover()
    page.mouse.down()
    expect(stage).to_have_attribute("data-alone", "before")
    page.mouse.up()
    expect(stage).not_to_have_attribute("data-alone", re.compile(".*"))

    page.locator("#compare-seed input").focus()
    page.keyboard.down("b")
    page.wait_for_timeout(100)
    expect(stage).not_to_have_attribute("data-alone", re.compile(".*"))
    page.keyboard.up("b")


def test_an_asked_comparison_is_awaited_drawn_and_there_after_a_reload(lab, open_tab):
    page = open_tab("Compare")
    expect(page.locator("#compare-run input")).to_have_value(f"{LIVE_NAME} (run 3, running)")
    expect(page.locator("#compare-after input")).to_have_value("the policy now")
    page.locator("#compare-prompts input").fill("2.5")
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-trouble")).to_have_text(re.compile("whole number from 1 to 10000, got 2.5"))
    page.locator("#compare-prompts input").fill("4")
    page.locator("#compare-guidance input").fill("0.5")
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-trouble")).to_have_text(re.compile("guidance_scale must be 1 to 20, got 0.5"))
    page.locator("#compare-guidance input").fill("4.5")
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-status")).to_have_text("Waiting for its turn: the run is drawing groups.")
    expect(page.locator("#compare-trouble .lab-words")).to_be_hidden()
    asked = lab.reader.comparisons(LIVE)[0]
    assert (asked.step, asked.num_prompts, asked.seed, asked.is_done) == (None, 4, 0, False)
    assert asked.drawing == Drawing(guidance_scale=4.5)

    lab.writer.record(LIVE, PhaseChanged(step=15, phase=Phase.COMPARING, done=3, total=8))
    lab.writer.flush()
    expect(page.locator("#compare-status")).to_have_text("Drawing pictures: sampling step 4 of 8.")
    lab.writer.record(LIVE, comparison(asked.id, num_pairs=4))
    lab.writer.record(LIVE, PhaseChanged(step=15, phase=Phase.SAMPLING, done=1, total=8))
    lab.writer.flush()
    expect(page.locator(".before-after .pair")).to_have_count(4)
    page.reload()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator(".before-after .pair")).to_have_count(4)
    expect(page.locator("#compare-status")).to_contain_text("Both sides were drawn with guidance 4.5.")
    page.locator("#compare-ask").click()
    expect(page.locator("#compare-status")).to_have_text("Waiting for its turn: the run is drawing groups.")
    assert lab.reader.comparisons(LIVE)[0].drawing == Drawing()


def open_run(page, name: str) -> None:
    page.locator("#runs-list").get_by_role("button", name=name).click()
    expect(page.locator("#run-facts p").first).to_contain_text(name)


def test_a_failed_run_says_why_and_is_set_beside_another(lab, open_tab):
    page = open_tab("Runs")
    open_run(page, "higher rate")
    expect(page.locator("#run-facts")).to_contain_text("The loss is not finite. Lower the learning rate.")
    expect(page.get_by_label("What went wrong, in detail")).to_have_value("Traceback\n  in loss.py")
    expect(page.locator("#run-resume")).to_be_disabled()
    expect(page.locator("#run-diary")).to_contain_text("The gradient norm is ten times its median.")
    expect(page.locator("#run-checkpoints tbody tr")).to_have_count(3)
    expect(page.locator("#run-examinations tbody tr")).to_have_count(3)
    expect(page.locator("#run-difference table")).to_have_count(0)
    choose(page, "#run-other", "first try")
    usual = RunConfig()
    kl_weights = ["loss.kl_weight", "0.25", f"{usual.loss.kl_weight}"]
    rates = ["update.learning_rate", "0.001", f"{usual.update.learning_rate}"]
    expect(page.locator("#run-difference td")).to_have_text([*kl_weights, *rates])
    reward = page.locator("#run-curves [data-chart=reward]")
    expect(reward.locator(".legendtext")).to_have_text(["higher rate", "first try"])


def test_name_and_notes_are_saved_and_survive_a_reload(lab, open_tab):
    run_id = add_finished(lab.writer, "to be renamed")
    page = open_tab("Runs")
    open_run(page, "to be renamed")
    page.locator("#run-name input, #run-name textarea").fill(" ")
    page.locator("#run-save").click()
    expect(page.locator("#runs-said")).to_contain_text("A run's name must be 1 to 200 printable characters")
    page.locator("#run-name input, #run-name textarea").fill("renamed ${x}")
    page.locator("#run-notes textarea").fill(HOSTILE)
    page.locator("#run-save").click()
    expect(page.locator("#run-saved")).to_contain_text("Saved")
    page.locator("#run-delete").click()
    expect(page.locator("#run-question")).to_contain_text("Delete renamed ${x} (run")
    assert (lab.reader.run(run_id).name, lab.reader.run(run_id).notes) == ("renamed ${x}", HOSTILE)
    page.reload()
    page.get_by_role("tab", name="Runs").click()
    open_run(page, "renamed ${x}")
    expect(page.locator("#run-notes textarea")).to_have_value(HOSTILE)


def test_typed_notes_are_left_alone_while_the_run_goes_on(lab, open_tab):
    page = open_tab("Runs")
    open_run(page, LIVE_NAME)
    page.locator("#run-notes textarea").fill("half a thou")
    lab.writer.record(LIVE, StepDone(step=15, groups=(), metrics=metrics(15)))
    lab.writer.flush()
    expect(page.locator("#runs-list tr[aria-current]")).to_contain_text("16 of 40")
    expect(page.locator("#run-notes textarea")).to_have_value("half a thou")


def test_settings_of_a_run_go_into_the_train_form_and_into_a_recipe(lab, open_tab):
    page = open_tab("Runs")
    open_run(page, "higher rate")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download recipe").click()
    assert download.value.suggested_filename == f"higher-rate-{FAILED}.yaml"
    assert parse_recipe(download.value.path().read_bytes()) == from_dict(HIGHER_RATE)
    page.locator("#run-reuse").click()
    expect(page.locator("#runs-said")).to_have_text("These settings now stand in the form of the Train tab.")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#setting-name input, #setting-name textarea")).to_have_value("higher rate")
    expect(page.locator("#setting-update-learning_rate input")).to_have_value("0.001")
    expect(page.locator("#setting-loss-kl_weight input")).to_have_value("0.25")


def test_deleting_asks_first_and_a_live_run_stays(lab, open_tab):
    run_id = add_finished(lab.writer, "not needed")
    page = open_tab("Runs")
    open_run(page, "not needed")
    expect(page.locator("#run-really-delete")).to_be_hidden()
    page.locator("#run-delete").click()
    expect(page.locator("#run-question")).to_contain_text(f"Delete not needed (run {run_id}) for good")
    page.locator("#run-keep").click()
    expect(page.locator("#run-really-delete")).to_be_hidden()
    page.locator("#run-delete").click()
    page.locator("#run-really-delete").click()
    expect(page.locator("#runs-said")).to_have_text(f"Run {run_id} is deleted.")
    expect(page.locator("#runs-list")).not_to_contain_text("not needed")
    assert lab.reader.run(run_id) is None

    open_run(page, LIVE_NAME)
    page.locator("#run-delete").click()
    page.locator("#run-really-delete").click()
    expect(page.locator("#runs-said")).to_contain_text("Stop it first, then delete it.")
    assert lab.reader.run(LIVE).state is RunState.RUNNING


def test_the_question_before_deleting_goes_with_the_run_that_is_deleted_on_another_page(lab, open_tab):
    run_id = add_finished(lab.writer, "not needed")
    page = open_tab("Runs")
    open_run(page, "not needed")
    page.locator("#run-delete").click()
    expect(page.locator("#run-really-delete")).to_be_visible()
    lab.actions.delete(run_id)
    expect(page.locator("#run-facts")).not_to_contain_text("not needed")
    expect(page.locator("#run-really-delete")).to_be_hidden()


def test_a_stopped_run_resumes_and_is_shown_in_train(open_lab, open_page):
    def stopped(writer: Writer) -> None:
        writer.record(add_run(writer, RunConfig(name="stopped early"), 12), RunEnded(step=11, reason=EndReason.STOPPED))
        writer.flush()

    lab = open_lab(stopped)
    page = open_page(lab.url)
    page.get_by_role("tab", name="Runs").click()
    expect(page.locator("#run-facts")).to_contain_text("It can go on where it stopped.")
    page.locator("#run-resume").click()
    expect(page.locator("#runs-said")).to_have_text("Resumed. The Train tab shows it live.")
    expect(page.locator("#run-resume")).to_be_disabled()
    assert lab.actions.resumed == [1]
    page.locator("#run-show").click()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#status")).to_contain_text("stopped early")
    assert page.url.endswith("?run=1")


def test_an_empty_lab_says_what_to_press(open_lab, open_page):
    page = open_page(open_lab().url)
    page.get_by_role("tab", name="Runs").click()
    expect(page.locator("#runs-list")).to_have_text(
        "No runs yet. Open the Train tab and press Start; the run appears here at once."
    )
    expect(page.locator("#run-details")).to_be_hidden()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-status")).to_contain_text("No runs yet. Open the Train tab and press Start;")
    expect(page.locator("#compare-ask")).to_be_disabled()
    expect(page.locator("#compare-gallery .before-after")).to_be_hidden()


@pytest.mark.parametrize(
    ("look", "options"),
    [
        ("light", {"viewport": {"width": 1280, "height": 900}}),
        ("dark", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
    ],
)
def test_both_tabs_fit_their_screen(lab, open_tab, take_picture, look, options):
    page = open_tab("Compare", **options)
    choose(page, "#compare-stored", "first try")
    expect(page.locator(".before-after .pair")).to_have_count(24)
    assert_fits(page)
    take_picture(page, f"compare-{look}", full_page=True)
    page.get_by_role("tab", name="Runs").click()
    open_run(page, "higher rate")
    expect(page.locator("#run-curves .js-plotly-plot").first).to_be_visible()
    assert_fits(page)
    take_picture(page, f"runs-{look}", full_page=True)


def assert_fits(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
