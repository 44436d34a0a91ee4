"""One file instead of a folder: whichever way people pack, the same groups arrive, and what is not one is said."""

from zipfile import ZipFile

import pytest
from ranked_folders import png

from app.exchange.archive import pack
from app.exchange.export import export_file, export_groups
from app.exchange.importing import import_groups
from app.lab import EXPORT_LAYOUTS
from dgpo_core.errors import ExchangeError, LabError


def said(reader, run_id):
    return [(row.group_index, row.rater, row.kind, row.body) for row in reader.labels_of_step(run_id, 0)]


def pictures(reader, run_id):
    return [(task.prompt, [reader.picture(sha) for sha in task.shas]) for task in reader.label_tasks(run_id)]


@pytest.mark.parametrize("is_packed_with_its_folder", [False, True])
def test_ranked_folders_arrive_packed_either_way(writer, reader, ranked, tmp_path, is_packed_with_its_folder):
    directly, _ = import_groups(writer, ranked, "directly")
    if is_packed_with_its_folder:
        (tmp_path / "outer").mkdir()
        ranked = ranked.rename(tmp_path / "outer" / "mine").parent
    pack(ranked, tmp_path / "mine.zip")
    run_id, _ = import_groups(writer, tmp_path / "mine.zip", "mine")
    assert said(reader, run_id) == said(reader, directly)
    assert pictures(reader, run_id) == pictures(reader, directly)
    assert reader.run(run_id).notes == "Imported from mine.zip."


@pytest.mark.parametrize("is_packed_with_its_folder", [False, True])
def test_a_single_ranked_folder_is_a_group(writer, reader, ranked, tmp_path, is_packed_with_its_folder):
    folder = ranked / "a_red_circle"
    if is_packed_with_its_folder:
        (tmp_path / "outer").mkdir()
        folder = folder.rename(tmp_path / "outer" / "a_red_circle").parent
    pack(folder, tmp_path / "a_red_circle.zip")
    run_id, _ = import_groups(writer, tmp_path / "a_red_circle.zip", "mine")
    assert [(prompt, len(pngs)) for prompt, pngs in pictures(reader, run_id)] == [("a red circle", 4)]
    assert said(reader, run_id) == [(0, "imported ranks", "ranking", {"tiers": [[0], [2, 3], [1]]})]


@pytest.mark.parametrize("layout", sorted(set(EXPORT_LAYOUTS) - {"pairs", "dpo"}))
def test_an_exported_file_comes_back_as_it_was(writer, reader, ranked, tmp_path, layout):
    if layout == "parquet":
        pytest.importorskip("pyarrow", reason="the extra of requirements-datasets.txt is not installed")
    run_id, _ = import_groups(writer, ranked, "mine")
    (tmp_path / "out").mkdir()
    file = export_file(reader, run_id, layout, tmp_path / "out")
    assert file.name == ("run-1-parquet.parquet" if layout == "parquet" else f"run-1-{layout}.zip")
    assert [*(tmp_path / "out").iterdir()] == [file]
    again, _ = import_groups(writer, file, "again")
    assert said(reader, again) == said(reader, run_id)
    assert pictures(reader, again) == pictures(reader, run_id)


def test_all_runs_go_out_together(writer, reader, ranked, tmp_path):
    first, _ = import_groups(writer, ranked, "one")
    second, _ = import_groups(writer, ranked, "two")
    assert export_groups(reader, None, tmp_path / "out") == 6
    assert (tmp_path / "out" / str(second) / "0" / "1" / "0.png").read_bytes() == png("white")
    again, _ = import_groups(writer, tmp_path / "out", "again")
    assert pictures(reader, again) == 2 * pictures(reader, first)
    assert export_file(reader, None, "csv", tmp_path / "out").name == "all-runs-csv.zip"


def test_without_a_run_there_is_nothing_to_export(reader, tmp_path):
    with pytest.raises(ExchangeError, match="No run has drawn groups yet"):
        export_groups(reader, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_layout_is_said(writer, reader, ranked, tmp_path):
    run_id, _ = import_groups(writer, ranked, "mine")
    with pytest.raises(ExchangeError, match=r"There is no layout '\.\./x'\. Choose one of groups, csv"):
        export_file(reader, run_id, "../x", tmp_path)


def test_wrong_rows_of_a_packed_folder_are_listed_and_nothing_is_taken(writer, reader, ranked, tmp_path):
    (ranked / "hostile" / "2.png").write_bytes(b"no picture")
    (ranked / "unjudged" / "two.png").unlink()
    pack(ranked, tmp_path / "mine.zip")
    with pytest.raises(ExchangeError) as refused:
        import_groups(writer, tmp_path / "mine.zip", "mine")
    lines = str(refused.value).split("\n")
    assert lines[0] == "mine.zip was not imported, because these are wrong:"
    assert lines[1].startswith("  folder hostile: picture '2.png' cannot be read")
    assert lines[2:] == [
        "  folder unjudged: a group needs 2 to 256 pictures, got 1",
        "Correct them; nothing was taken.",
    ]
    assert reader.runs() == []


def test_a_path_out_of_a_packed_folder_is_refused(writer, reader, ranked, tmp_path):
    (ranked / "groups.jsonl").write_text(
        '{"prompt": "x", "samples": [{"file": "../../../lab.db"}, {"file": "hostile/1.png"}]}'
    )
    pack(ranked, tmp_path / "mine.zip")
    with pytest.raises(ExchangeError, match=r"line 1: file '\.\./\.\./\.\./lab\.db' is not a path below the folder"):
        import_groups(writer, tmp_path / "mine.zip", "mine")
    assert reader.runs() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labels.jsonl", r"labels\.jsonl is neither a \.zip nor a \.parquet file\. Pictures must come along"),
        ("mine.zip", r"mine\.zip cannot be unpacked: File is not a zip file"),
        ("missing.zip", "There is no folder"),
    ],
)
def test_what_is_no_export_is_said(writer, reader, tmp_path, name, words):
    if name != "missing.zip":
        (tmp_path / name).write_text("text")
    with pytest.raises(LabError, match=words):
        import_groups(writer, tmp_path / name, "mine")
    assert reader.runs() == []


def test_an_empty_archive_is_said(writer, tmp_path):
    (tmp_path / "empty").mkdir()
    pack(tmp_path / "empty", tmp_path / "mine.zip")
    with pytest.raises(ExchangeError, match=r"mine holds neither groups\.jsonl"):
        import_groups(writer, tmp_path / "mine.zip", "mine")


def test_what_the_disk_refuses_is_said(writer, reader, tmp_path):
    with ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("a" * 300 + ".png", b"x")
    with pytest.raises(ExchangeError, match=r"mine\.zip cannot be read: File name too long\. Nothing was taken"):
        import_groups(writer, tmp_path / "mine.zip", "mine")
    assert reader.runs() == []
