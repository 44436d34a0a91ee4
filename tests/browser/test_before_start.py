"""What the Train tab says and takes before Start: the memory of a run, and a prompt file of a person's."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_actions import StoreActions

from app.reckoning import Reckoning
from dgpo_core.data.prompts import load_prompt_set

pytestmark = pytest.mark.browser


class ReckoningActions(StoreActions):
    """Reckons in earnest, as the runner does."""

    def __init__(self, writer):
        super().__init__(writer)
        self.memory_in_words = Reckoning(Path()).in_words


def test_memory_is_told_when_the_page_opens_and_follows_the_settings(open_lab, open_page, take_picture):
    page = open_page(open_lab(actions=ReckoningActions).url)
    memory = page.locator("#memory")
    memory.get_by_text("GB of memory at most: weights").wait_for(timeout=180_000)
    before = memory.text_content()
    page.get_by_text("More settings").click()
    page.get_by_role("button", name="Update").click()
    page.get_by_label("Micro batch").fill("4")
    page.wait_for_function(
        f"document.querySelector('#memory').textContent.trim() !== {before.strip()!r}", timeout=60_000
    )
    memory.scroll_into_view_if_needed()
    take_picture(page, "train-memory")
    page.get_by_label("Model folder").fill("somewhere/else/entirely")
    memory.get_by_text("There is no model in somewhere/else/entirely").wait_for(timeout=60_000)


def test_an_unwise_setting_is_cautioned_against_until_it_is_changed(open_lab, open_page):
    page = open_page(open_lab().url)
    size, caution = page.get_by_label("Group size"), page.locator("#cautions").get_by_text("Groups of 4 seldom")
    size.fill("4")
    caution.wait_for()
    size.fill("12")
    caution.wait_for(state="detached")


def test_a_prompt_file_is_brought_chosen_and_trained_on(open_lab, open_page, take_picture, tmp_path):
    lab = open_lab()
    page = open_page(lab.url)
    line = '{"tag": "counting", "include": [{"class": "clock", "count": 2}], "prompt": "a photo of two clocks"}\n'
    file = tmp_path / "my clocks.jsonl"
    file.write_text(line, encoding="utf-8")
    bad = tmp_path / "my clocks.csv"
    bad.write_text("words\na clock\n", encoding="utf-8")
    chooser = page.locator("input[type=file]").first
    chooser.set_input_files(bad)
    page.locator("#prompt-file-refused").get_by_text("has no text named prompt").wait_for()
    take_picture(page, "train-prompt-file-refused")
    chooser.set_input_files(file)
    page.locator("#prompt-file-found").get_by_text("1 prompt. 1 have data beside them.").wait_for()
    page.locator("#prompt-file-refused").wait_for(state="hidden")
    chosen = page.locator("#setting-prompts-train input").input_value()
    take_picture(page, "train-prompt-file")
    page.get_by_role("button", name="Start").click()
    page.locator("#status").locator("[data-state=starting]").wait_for()
    assert lab.actions.started[0].prompts.train == chosen
    found = load_prompt_set(chosen, lab.folder)
    assert (lab.folder / chosen).parent == lab.folder / "prompts"
    assert found.notes == {"a photo of two clocks": {"tag": "counting", "include": [{"class": "clock", "count": 2}]}}


def test_a_brought_prompt_file_is_offered_for_the_examination_and_the_watch_also_to_a_page_opened_later(
    open_lab, open_page, take_picture, tmp_path
):
    lab = open_lab()
    file = tmp_path / "my clocks.txt"
    file.write_text("a photo of two clocks\n", encoding="utf-8")
    page = open_page(lab.url)
    page.locator("input[type=file]").first.set_input_files(file)
    page.locator("#prompt-file-found").get_by_text("1 prompt.").wait_for()
    brought = page.locator("#setting-prompts-train input").input_value()
    page = open_page(lab.url)
    assert page.locator("#setting-prompts-train input").input_value() != brought
    page.get_by_text("More settings").click()
    for name in ("heldout", "watch"):
        choice = page.locator(f"#setting-prompts-{name}")
        choice.locator("input").click()
        choice.get_by_role("option", name=brought).click()
    take_picture(page, "train-prompt-file-examined")
    page.get_by_role("button", name="Start").click()
    page.locator("#status").locator("[data-state=starting]").wait_for()
    prompts = lab.actions.started[0].prompts
    assert (prompts.heldout, prompts.watch) == (brought, brought)


def test_the_choice_of_watched_prompts_can_be_emptied_again(open_lab, open_page):
    lab = open_lab()
    page = open_page(lab.url)
    page.get_by_text("More settings").click()
    watch = page.locator("#setting-prompts-watch input")
    watch.click()
    page.get_by_role("option", name="shapes-heldout").click()
    watch.fill("")
    watch.blur()
    page.get_by_role("button", name="Start").click()
    page.locator("#status").locator("[data-state=starting]").wait_for()
    assert lab.actions.started[0].prompts.watch == ""
