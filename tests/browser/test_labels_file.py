"""Labels out of the lab and into it, through the People tab in a real Chromium."""

from __future__ import annotations

import json
from io import BytesIO
from random import Random
from zipfile import ZipFile

import pytest
from synthetic import HOSTILE, picture

from app.store.rows import Said
from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import GroupsPosted, PostedGroup

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
expect.set_options(timeout=20_000)
pytestmark = pytest.mark.browser

ORDER = {"tiers": [[1], [0]]}


def fill(writer: Writer) -> None:
    run_id = writer.create_run(to_dict(RunConfig(name="by <b>people</b>")), 100)
    pngs = tuple(picture(Random(seed)) for seed in range(2))
    writer.record(run_id, GroupsPosted(step=0, groups=(PostedGroup(0, HOSTILE, pngs),)))
    writer.flush()
    task_id = writer.lease_next("ann")
    said = {"kind": "ranking", "body": ORDER, "seconds": 2.5, "request": "request one"}
    writer.put_label(Said(task_id=task_id, rater="ann", **said))


@pytest.fixture
def lab(open_lab):
    return open_lab(fill)


@pytest.fixture
def page(lab, open_page):
    page = open_page(lab.url)
    page.get_by_role("tab", name="People").click()
    page.get_by_role("button", name="Export and import labels").click()
    return page


def saved(page, layout, folder):
    """The file that the page gives for a layout."""
    page.locator("#export-layout input").click()
    page.get_by_role("option", name=f"{layout}:").click()
    page.locator("#export-ask").click()
    expect(page.locator("#export-file")).to_contain_text(f"-{layout}")
    with page.expect_download() as download:
        page.locator("#export-file a").first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def bring(page, path, name):
    page.locator("#import-file input[type=file]").set_input_files(path)
    expect(page.locator("#import-file")).to_contain_text(path.stem)
    page.locator("#import-name textarea, #import-name input").fill(name)
    page.locator("#import-ask").click()


def test_a_run_is_saved_as_a_file_and_brought_back_as_another_run(lab, page, tmp_path, take_picture):
    expect(page.locator("#export-run input")).to_have_value("by <b>people</b> (run 1)")
    path = saved(page, "groups", tmp_path)
    assert path.name == "run-1-groups.zip"
    with ZipFile(path) as archive:
        group = json.loads(archive.read("groups.jsonl"))
        assert archive.read(group["samples"][1]["file"]) == picture(Random(1))
    assert (group["prompt"], group["labels"][0]["body"]) == (HOSTILE, ORDER)
    bring(page, path, "again")
    expect(page.locator("#import-done")).to_contain_text("Run 2 holds 1 group, 1 labelled.")
    take_picture(page, "exchange", full_page=True)
    assert [(row.rater, row.body) for row in lab.reader.labels_of_run(2)] == [("ann", ORDER)]
    assert lab.reader.label_tasks(2)[0].shas == lab.reader.label_tasks(1)[0].shas
    page.locator("#export-run input").click()
    page.get_by_role("option", name="again (run 2)").click()
    assert saved(page, "csv", tmp_path).name == "run-2-csv.zip"


def test_all_runs_are_saved_as_one_parquet_file(lab, page, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra of requirements-datasets.txt is not installed")
    page.locator("#export-run input").click()
    page.get_by_role("option", name="All runs").click()
    path = saved(page, "parquet", tmp_path)
    assert parquet.read_table(path).column("prompt").to_pylist() == [HOSTILE] * 2
    bring(page, path, "")
    expect(page.locator("#import-done")).to_contain_text("Run 2 holds 1 group, 1 labelled.")
    assert lab.reader.run(2).name == "all-runs-parquet"


def test_wrong_rows_are_listed_nothing_is_taken_and_the_file_can_be_changed(lab, page, tmp_path, take_picture):
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr(
            "metadata.jsonl", f'{{"file_name": "{"../" * 3}lab.db", "prompt": "<img src=x>"}}\n{{"x": 1}}\n'
        )
    (tmp_path / "mine.zip").write_bytes(packed.getvalue())
    bring(page, tmp_path / "mine.zip", "")
    expect(page.locator("#import-trouble p")).to_have_text(
        [
            "mine.zip was not imported, because these are wrong:",
            "line 2 has neither file_name nor win_file_name and lose_file_name",
            "line 1: a group needs 2 to 256 pictures, got 1",
            "Correct them; nothing was taken.",
        ]
    )
    take_picture(page, "exchange-refused", full_page=True)
    assert [run.id for run in lab.reader.runs()] == [1]


def test_without_a_run_and_without_a_file_the_page_says_what_to_do(open_lab, open_page):
    page = open_page(open_lab().url)
    page.get_by_role("tab", name="People").click()
    page.get_by_role("button", name="Export and import labels").click()
    page.locator("#export-ask").click()
    expect(page.locator("#export-trouble")).to_contain_text("There is no run to export yet.")
    page.locator("#import-ask").click()
    expect(page.locator("#import-trouble")).to_contain_text("There is no file yet. Choose one first.")
