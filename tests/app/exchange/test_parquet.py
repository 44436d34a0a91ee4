"""Parquet: what the library datasets reads of it, and what is refused when it is read back."""

import json
import sys
from io import BytesIO

import pytest
from PIL import Image
from ranked_folders import HOSTILE, png

from app.exchange.export import export_file, export_groups
from app.exchange.importing import import_groups
from app.exchange.parquet import unpack_parquet
from dgpo_core.errors import ExchangeError

EXTRA = "the extra of requirements-datasets.txt is not installed"
pyarrow = pytest.importorskip("pyarrow", reason=EXTRA)
parquet = pytest.importorskip("pyarrow.parquet", reason=EXTRA)


def test_load_dataset_reads_pictures_prompts_and_labels(writer, reader, ranked, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason=EXTRA)
    run_id, _ = import_groups(writer, ranked, "mine")
    export_groups(reader, run_id, tmp_path / "out", "parquet")
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows.features["image"], datasets.Image)
    assert [row["prompt"] for row in rows] == ["a red circle"] * 4 + [HOSTILE] * 2 + ["unjudged"] * 2
    assert [row["image"].getpixel((0, 0)) for row in rows][4:6] == [(255, 255, 255), (0, 0, 0)]
    assert [row["group"] for row in rows] == ["0/0"] * 4 + ["0/1"] * 2 + ["0/2"] * 2
    assert [row["preference"] for row in rows][4:] == [1.0, -1.0, None, None]
    assert [one["body"] for one in json.loads(rows[4]["labels"])] == [{"tiers": [[0], [1]]}]


def write(path, rows, **kinds):
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(kinds) if kinds else None), path)
    return path


def row(colour="red", **more):
    return {"image": {"bytes": png(colour), "path": "../../x.png"}, "prompt": "a cat"} | more


def test_columns_of_others_are_enough(writer, reader, tmp_path):
    """Bytes as they are, places instead of rewards, pictures of one prompt together, columns that nobody knows."""
    rows = [{"image": png(one), "prompt": "a cat", "place": place, "x": 1} for one, place in (("red", 2), ("blue", 1))]
    run_id, groups = import_groups(writer, write(tmp_path / "own.parquet", rows), "own")
    assert [(group.prompt, len(group.files)) for group in groups] == [("a cat", 2)]
    assert [one.body for one in reader.labels_of_run(run_id)] == [{"tiers": [[1], [0]]}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "x"}], "lacks the columns image; it has prompt. Name them so."),
        ([{"image": "a.png", "prompt": "x"}], "The column image of x.parquet holds string; it must hold the bytes"),
        ([row(), row() | {"image": {"bytes": None, "path": "x.png"}}], "row 1: file 'None' is not a path"),
        ([row(), row() | {"image": {"bytes": b"GIF89a", "path": None}}], "row 1: picture '2' cannot be read"),
        ([row()], "row 1: a group needs 2 to 256 pictures, got 1"),
        ([row(labels="[3]"), row(labels="[]")], "row 1 has labels that are none"),
        ([row(reward="good"), row(reward="bad")], "row 1: reward or place 'good' is not a number"),
        ([row(), row(prompt="")], "row 2: no prompt"),
    ],
)
def test_wrong_rows_are_named_and_nothing_is_taken(writer, reader, tmp_path, rows, words):
    with pytest.raises(ExchangeError) as refused:
        import_groups(writer, write(tmp_path / "x.parquet", rows), "mine")
    assert words in str(refused.value)
    assert reader.runs() == []


def test_pairs_are_read_as_scripts_for_diffusion_dpo_read_them_and_come_back(writer, reader, ranked, tmp_path):
    run_id, _ = import_groups(writer, ranked, "mine")
    (tmp_path / "out").mkdir()
    file = export_file(reader, run_id, "dpo", tmp_path / "out")
    assert file.name == "run-1-dpo.parquet"
    rows = parquet.read_table(file).to_pylist()
    seen = [
        [Image.open(BytesIO(one[name])).convert("RGB").getpixel((0, 0)) for name in ("jpg_0", "jpg_1")] for one in rows
    ]
    assert [list(one) for one in rows] == [["jpg_0", "jpg_1", "label_0", "caption"]] * 6
    assert {(one["label_0"], one["caption"]) for one in rows} == {(1.0, "a red circle"), (1.0, HOSTILE)}
    assert seen[0][0] == (255, 0, 0)
    assert seen[-1] == [(255, 255, 255), (0, 0, 0)]
    again, _ = import_groups(writer, file, "again")
    assert [task.prompt for task in reader.label_tasks(again)] == [one["caption"] for one in rows]
    assert {(one.rater, str(one.body)) for one in reader.labels_of_run(again)} == {
        ("imported pairs", "{'tiers': [[0], [1]]}")
    }


def pair(label, **more):
    return {"jpg_0": png("red"), "jpg_1": png("blue"), "label_0": label, "caption": "a cat"} | more


def test_pairs_of_others_come_in_with_their_ties_and_columns_that_nobody_knows(writer, reader, tmp_path):
    rows = [pair(label, label_1=1 - label, uid=3) for label in (1.0, 0.0, 0.5)]
    run_id, _ = import_groups(writer, write(tmp_path / "pick.parquet", rows), "pick")
    assert [one.body["tiers"] for one in reader.labels_of_run(run_id)] == [[[0], [1]], [[1], [0]], [[0, 1]]]
    assert [reader.picture(sha) for sha in reader.label_tasks(run_id)[1].shas] == [png("red"), png("blue")]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([pair(1.0), pair(None)], "row 2 has label_0 'None'; it must be 1 (jpg_0 is better), 0, or 0.5 (a tie)"),
        ([pair(2.0)], "row 1 has label_0 '2.0'"),
        ([pair(1.0), pair(1.0, jpg_1=None)], "row 2: file 'None' is not a path"),
        ([pair(1.0, jpg_0="a.png")], "The column jpg_0 of x.parquet holds string; it must hold the bytes"),
        ([pair(1.0, caption="")], "row 1: no prompt"),
    ],
)
def test_wrong_pairs_are_named_and_nothing_is_taken(writer, reader, tmp_path, rows, words):
    with pytest.raises(ExchangeError) as refused:
        import_groups(writer, write(tmp_path / "x.parquet", rows), "mine")
    assert words in str(refused.value)
    assert reader.runs() == []


def test_a_column_that_is_there_twice_is_said(writer, tmp_path):
    column = pyarrow.array([row()["image"]] * 2)
    table = pyarrow.Table.from_arrays([column, column, pyarrow.array(["a", "a"])], names=["image", "image", "prompt"])
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ExchangeError, match=r"x\.parquet has the column image more than once\. Leave one"):
        import_groups(writer, tmp_path / "x.parquet", "mine")


def test_a_time_that_python_does_not_know_is_said(writer, tmp_path):
    late = pyarrow.array([253402300800_000_000] * 2, pyarrow.timestamp("us"))
    images = pyarrow.array([row()["image"]] * 2)
    table = pyarrow.Table.from_arrays([images, pyarrow.array(["a", "a"]), late], names=["image", "prompt", "group"])
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ExchangeError, match=r"x\.parquet cannot be read as Parquet: "):
        import_groups(writer, tmp_path / "x.parquet", "mine")


@pytest.mark.parametrize("data", [b"", b"PAR1 no table PAR1", None])
def test_a_damaged_file_is_said(writer, reader, tmp_path, data):
    whole = write(tmp_path / "x.parquet", [row(), row("blue")]).read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:-40] if data is None else data)
    with pytest.raises(ExchangeError, match=r"x\.parquet cannot be read as Parquet: "):
        import_groups(writer, tmp_path / "x.parquet", "mine")
    assert reader.runs() == []


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    rows = [{"image": bytes(5_000_000), "prompt": "x"} for _ in range(4)]
    file = write(tmp_path / "bomb.parquet", rows, image=pyarrow.binary(), prompt=pyarrow.string())
    assert file.stat().st_size < 1_000_000
    with pytest.raises(ExchangeError, match=r"bomb\.parquet holds more than the lab takes at once"):
        unpack_parquet(file, tmp_path / "to", most_bytes=1_000_000)
    assert [*(tmp_path / "to").iterdir()] == []


def test_many_groups_are_written_in_parts_and_keep_their_order(writer, reader, tmp_path):
    source = tmp_path / "mine"
    for number in range(100, 170):
        (source / f"prompt_{number}").mkdir(parents=True)
        for place in (1, 2):
            buffer = BytesIO()
            Image.new("RGB", (2, 2), (number, place, 0)).save(buffer, "PNG")
            (source / f"prompt_{number}" / f"{place}.png").write_bytes(buffer.getvalue())
    run_id, _ = import_groups(writer, source, "many")
    (tmp_path / "out").mkdir()
    opened = parquet.ParquetFile(export_file(reader, run_id, "parquet", tmp_path / "out"))
    assert (opened.metadata.num_rows, opened.metadata.num_row_groups) == (140, 3)
    found = opened.read(["prompt"]).column("prompt").to_pylist()
    assert found == [f"prompt {number}" for number in range(100, 170) for _ in (1, 2)]


def test_without_the_library_the_way_to_it_is_said(writer, reader, ranked, tmp_path, monkeypatch):
    run_id, _ = import_groups(writer, ranked, "mine")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ExchangeError, match=r"needs the library pyarrow\. Install it: \.venv/bin/python -m pip install"
    ):
        export_groups(reader, run_id, tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()
