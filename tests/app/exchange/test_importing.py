"""Groups and labels out of one lab and into another, and what is refused on the way."""

import json
import os
import sys
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from ranked_folders import HOSTILE, png
from sqlite_utils.utils import sqlite3

from app.__main__ import main
from app.exchange.export import export_groups
from app.exchange.importing import import_groups
from app.lab import EXPORT_LAYOUTS
from app.store.rows import RunState
from dgpo_core.data.stored_groups import load_groups
from dgpo_core.errors import ExchangeError


def said(reader, run_id):
    return [(row.group_index, row.rater, row.kind, row.body) for row in reader.labels_of_step(run_id, 0)]


def pictures(reader, run_id):
    return [(task.prompt, [reader.picture(sha) for sha in task.shas]) for task in reader.label_tasks(run_id)]


def test_ranked_folders_become_groups_with_labels_and_those_without_places_wait_for_people(writer, reader, ranked):
    run_id, groups = import_groups(writer, ranked, "mine")
    run = reader.run(run_id)
    assert (run.name, run.state, run.notes) == ("mine", RunState.FINISHED, "Imported from mine.")
    assert [group.prompt for group in groups] == ["a red circle", HOSTILE, "unjudged"]
    # by name: 1.png, 10.webp, 2 nice.jpg, 2b.png
    assert said(reader, run_id) == [
        (0, "imported ranks", "ranking", {"tiers": [[0], [2, 3], [1]]}),
        (1, "imported ranks", "ranking", {"tiers": [[0], [1]]}),
    ]
    assert pictures(reader, run_id)[1][1] == [png("white"), png("black")]
    assert Image.open(BytesIO(pictures(reader, run_id)[0][1][2])).format == "PNG"
    waiting = writer.lease_next("ann")
    assert reader.label_task(waiting).prompt == "unjudged"


@pytest.mark.parametrize("layout", sorted(set(EXPORT_LAYOUTS) - {"pairs", "dpo"}))
def test_what_is_exported_comes_back_as_it_was(writer, reader, ranked, tmp_path, layout):
    if layout == "parquet":
        pytest.importorskip("pyarrow", reason="the extra of requirements-datasets.txt is not installed")
    run_id, _ = import_groups(writer, ranked, "mine")
    assert export_groups(reader, run_id, tmp_path / layout, layout) == 3
    again, _ = import_groups(writer, tmp_path / layout, "again")
    assert said(reader, again) == said(reader, run_id)
    assert pictures(reader, again) == pictures(reader, run_id)


def test_pairs_hold_every_better_and_worse_picture_and_come_back_as_groups_of_two(writer, reader, ranked, tmp_path):
    run_id, _ = import_groups(writer, ranked, "mine")
    export_groups(reader, run_id, tmp_path / "pairs", "pairs")
    lines = [json.loads(line) for line in (tmp_path / "pairs" / "metadata.jsonl").read_text().splitlines()]
    assert [(one["win_file_name"], one["lose_file_name"]) for one in lines] == [
        *(("0/0/0.png", f"0/0/{worse}.png") for worse in (1, 2, 3)),
        *((f"0/0/{better}.png", "0/0/1.png") for better in (2, 3)),
        ("0/1/0.png", "0/1/1.png"),
    ]
    assert {one["caption"] for one in lines} == {"a red circle", HOSTILE}
    again, groups = import_groups(writer, tmp_path / "pairs", "again")
    assert len(groups) == 6
    assert {(rater, json.dumps(body)) for _, rater, _, body in said(reader, again)} == {
        ("imported pairs", '{"tiers": [[0], [1]]}')
    }


def test_imported_groups_can_be_trained_on(writer, reader, ranked, tmp_path):
    run_id, _ = import_groups(writer, ranked, "mine")
    export_groups(reader, run_id, tmp_path / "groups")
    lines = (tmp_path / "groups" / "groups.jsonl").read_text().splitlines()
    (tmp_path / "groups" / "groups.jsonl").write_text("\n".join(lines[1:]))  # all must have one size
    groups = load_groups(tmp_path / "groups")
    assert [[sample.reward for sample in group.samples] for group in groups] == [[1.0, -1.0], [None, None]]


def write_groups(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(png("red"))
    (folder / "b.png").write_bytes(png("blue"))
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    Image.new("RGB", (8, 8)).save(folder / "program.eps")  # Pillow would have a program of the system draw it
    good = {"prompt": "fine", "samples": [{"file": "a.png", "reward": 1}, {"file": "b.png", "reward": 0}]}
    texts = [line if isinstance(line, Text) else json.dumps(line) for line in (good, *lines)]
    (folder / "groups.jsonl").write_text("\n".join(texts), encoding="utf-8")


class Text(str):
    """A line as it stands, which json.dumps would not write so."""


def group(*files, prompt="a cat", **more):
    return {"prompt": prompt, "samples": [{"file": file} for file in files]} | more


LABEL = {"rater": "ann", "kind": "picks", "body": {"best": [0]}}
HUGE = 10**400
"""Python reads it from JSON as a whole number, which no float can hold."""


def nested(depth):
    """A line whose values lie so deep in one another."""
    return Text('{"prompt": "x", "samples": ' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (group("../a.png", "b.png"), "line 2: file '../a.png' is not a path below the folder"),
        (group("/etc/passwd", "b.png"), "line 2: file '/etc/passwd' is not a path below the folder"),
        (group("..\\a.png", "b.png"), "is not a path below the folder"),
        (group("a.png\0", "b.png"), "is not a path below the folder"),
        (group(7, "b.png"), "file '7' is not a path below the folder"),
        (group("leads_out.png", "b.png"), "file 'leads_out.png' leads out of the folder"),
        (group("c.png", "b.png"), "line 2: picture 'c.png' is missing"),
        (group("broken.png", "b.png"), "line 2: picture 'broken.png' cannot be read"),
        (group("groups.jsonl", "b.png"), "picture 'groups.jsonl' cannot be read"),
        (group("program.eps", "b.png"), "picture 'program.eps' cannot be read"),
        (group("a.png"), "line 2: a group needs 2 to 256 pictures, got 1"),
        (group("a.png", "b.png", prompt=""), "line 2: no prompt"),
        (group("a.png", "b.png", prompt=None), "line 2: no prompt"),
        ({"prompt": "x", "samples": ["a.png"]}, "line 2 is no group with samples"),
        ("text", "line 2 is no group with samples"),
        (
            {"prompt": "x", "samples": [{"file": "a.png", "reward": "good"}] * 2},
            "'good' is not a number",
        ),
        (
            group("a.png", "b.png", labels=[LABEL | {"body": {"best": [2]}}]),
            "line 2: Pictures of this group",
        ),
        (group("a.png", "b.png", labels=[LABEL | {"kind": "dance"}]), "There is no label of the kind 'dance'"),
        (group("a.png", "b.png", labels=[LABEL | {"rater": "a\nb"}]), "a rater's name must be 1 to 60"),
        (group("a.png", "b.png", labels=[LABEL, LABEL]), "line 2: 'ann' judges this group twice"),
        (group("a.png", "b.png", labels=[LABEL | {"seconds": -1}]), "seconds must be a number of 0 or more"),
        (group("a.png", "b.png", labels=[LABEL | {"created": "soon"}]), "created must be a time"),
        (group("\ud800.png", "b.png"), r"line 2: file '\ud800.png' is not a path below the folder"),
        (group("a" * 300 + ".png", "b.png"), f"line 2: file '{'a' * 80}' cannot be looked up: File name too long"),
        (group("circle.png", "b.png"), "line 2: picture 'circle.png' is missing"),
        (
            {"prompt": "x", "samples": [{"file": "a.png", "reward": HUGE}, {"file": "b.png", "reward": 1}]},
            f"line 2: reward or place '{str(HUGE)[:40]}' is not a number",
        ),
        (
            group("a.png", "b.png", labels=[LABEL | {"seconds": HUGE}]),
            f"line 2: seconds must be a number of 0 or more that is not huge, got '{str(HUGE)[:40]}'",
        ),
        (nested(100_000), "line 2 is no group with samples"),
        (nested(40), "line 2 is no group with samples"),
        (group("a.png", "b.png", prompt="a \ud800 cat"), "line 2: the prompt holds half a character"),
        (
            group("a.png", "b.png", labels=[LABEL | {"rater": "a\ud800"}]),
            r"line 2: a rater's name must be 1 to 60 printable characters, got 'a\ud800'",
        ),
        (
            group("a.png", "b.png", labels=[LABEL | {"body": {"best": "\ud800"}}]),
            r"line 2: Pictures of this group are numbered 1 to 2, got \ud800 counted from 0",
        ),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_taken(writer, reader, tmp_path, line, words):
    source = tmp_path / "source"
    write_groups(source, line)
    (tmp_path / "secret.png").write_bytes(png("black"))
    (source / "leads_out.png").symlink_to(tmp_path / "secret.png")
    (source / "circle.png").symlink_to(source / "circle.png")
    with pytest.raises(ExchangeError, match="nothing was taken") as refused:
        import_groups(writer, source, "mine")
    assert words in str(refused.value)
    assert str(refused.value).isascii()  # so that any terminal and the page can show it
    assert reader.runs() == []


def test_a_length_of_time_that_no_whole_number_of_the_store_holds_is_kept(writer, reader, tmp_path):
    write_groups(tmp_path / "source", group("a.png", "b.png", labels=[LABEL | {"seconds": 10**20}]))
    run_id, _ = import_groups(writer, tmp_path / "source", "mine")
    assert [one.seconds for one in reader.labels_of_run(run_id)] == [0.0, 1e20]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_names_that_are_no_text_are_taken_for_pictures_and_refused_for_prompts(writer, reader, tmp_path):
    latin = os.fsdecode("sch\u00f6n".encode("latin-1"))
    folder = tmp_path / "source" / "a_cat"
    folder.mkdir(parents=True)
    for place, colour in ((1, "red"), (2, "blue")):
        (folder / f"{place} {latin}.png").write_bytes(png(colour))
    run_id, _ = import_groups(writer, tmp_path / "source", "mine")
    assert pictures(reader, run_id) == [("a cat", [png("red"), png("blue")])]
    folder.rename(folder.with_name(latin))
    with pytest.raises(ExchangeError) as refused:
        import_groups(writer, tmp_path / "source", "again")
    assert r"folder sch\udcf6n: the prompt holds half a character" in str(refused.value)
    assert [run.id for run in reader.runs()] == [run_id]


def test_many_wrong_rows_are_counted(writer, tmp_path):
    write_groups(tmp_path / "source", *[group("a.png") for _ in range(15)])
    with pytest.raises(ExchangeError, match="and 5 more") as refused:
        import_groups(writer, tmp_path / "source", "mine")
    assert str(refused.value).count("\n") == 12


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("groups.csv", "prompt,picture\nx,a.png", "lacks the columns file; it has prompt, picture"),
        ("groups.csv", "prompt,file,place\nx,a.png,first\nx,b.png,2", "row 2: reward or place 'first' is not a number"),
        (
            "metadata.jsonl",
            f'{{"file_name": "a.png", "prompt": "x", "place": {HUGE}}}\n{{"file_name": "b.png", "prompt": "x"}}',
            f"line 1: reward or place '{str(HUGE)[:40]}' is not a number",
        ),
        ("metadata.jsonl", '{"text": "x"}', "line 1 has neither file_name nor win_file_name"),
        ("metadata.jsonl", '{"win_file_name": "a.png", "caption": "x"}', "file 'None' is not a path"),
        ("groups.jsonl", "\n\n", "holds no group"),
    ],
)
def test_wrong_columns_are_said(writer, reader, tmp_path, name, text, words):
    source = tmp_path / "source"
    write_groups(source)
    (source / "groups.jsonl").unlink()
    (source / name).write_text(text)
    with pytest.raises(ExchangeError) as refused:
        import_groups(writer, source, "mine")
    assert words in str(refused.value)
    assert reader.runs() == []


def test_a_table_with_places_is_enough(writer, reader, tmp_path):
    source = tmp_path / "source"
    write_groups(source)
    (source / "groups.jsonl").unlink()
    (source / "groups.csv").write_text("prompt,file,place\n'=cat,a.png,2\n'=cat,b.png,1\n")
    run_id, groups = import_groups(writer, source, "mine")
    assert groups[0].prompt == "=cat"
    assert said(reader, run_id) == [(0, "imported rewards", "ranking", {"tiers": [[1], [0]]})]


def test_pictures_of_a_table_without_a_place_are_neither_better_nor_worse(writer, reader, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(png("red"))
    rows = ["g,p,a.png,2", "g,p,b.png,", "g,p,c.png,1", "h,p,a.png,1", "h,p,b.png,", "h,p,c.png,"]
    (tmp_path / "groups.csv").write_text("\n".join(["group,prompt,file,reward", *rows]))
    run_id, _ = import_groups(writer, tmp_path, "mine")
    (label,) = reader.labels_of_run(run_id)
    assert (label.kind, label.body) == ("pairs", {"verdicts": [{"first": 0, "second": 2, "verdict": "first"}]})


OTHER_PROMPTS = [
    ("groups.csv", "group,prompt,file\ng,a cat,a.png\ng,,b.png\ng,a dog,c.png\n", "row 4", "row 2"),
    (
        "metadata.jsonl",
        '{"group": "g", "prompt": "a cat", "file_name": "a.png"}\n'
        '{"group": "g", "file_name": "b.png"}\n{"group": "g", "prompt": "a dog", "file_name": "c.png"}\n',
        "line 3",
        "line 1",
    ),
]


@pytest.mark.parametrize(("name", "text", "where", "first"), OTHER_PROMPTS, ids=["csv", "jsonl"])
def test_rows_of_one_group_with_different_prompts_are_said(writer, reader, tmp_path, name, text, where, first):
    for file in ("a", "b", "c"):
        (tmp_path / f"{file}.png").write_bytes(png("red"))
    (tmp_path / name).write_text(text)
    words = f"{where} has the prompt 'a dog', but {first} of the same group 'g' has 'a cat'"
    with pytest.raises(ExchangeError, match=words):
        import_groups(writer, tmp_path, "mine")
    assert reader.runs() == []


def test_labels_of_a_group_that_a_table_lacks_are_said(writer, tmp_path):
    source = tmp_path / "source"
    write_groups(source)
    (source / "groups.jsonl").unlink()
    (source / "groups.csv").write_text("group,prompt,file\ng,x,a.png\ng,x,b.png\n")
    (source / "labels.csv").write_text('group,rater,kind,body\nother,ann,picks,"{""best"": [0]}"\n')
    with pytest.raises(ExchangeError, match=r"row 2 of labels.csv is of the group 'other'"):
        import_groups(writer, source, "mine")


def test_a_folder_in_which_only_some_pictures_have_places_is_refused(writer, ranked):
    (ranked / "unjudged" / "1.png").write_bytes(png("red"))
    with pytest.raises(ExchangeError, match=r"folder unjudged: one.png has no place"):
        import_groups(writer, ranked, "mine")


def test_a_folder_that_is_named_by_a_dot_is_called_by_its_name(writer, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ExchangeError, match=r"^empty holds neither groups\.jsonl"):
        import_groups(writer, Path(), "mine")


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_groups_is_said(writer, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExchangeError, match=r"There is no folder|holds neither groups.jsonl"):
        import_groups(writer, tmp_path / name, "mine")


def test_the_commands_take_in_and_give_out(ranked, tmp_path, capsys):
    folder = ["--folder", str(tmp_path / "lab")]
    assert main(["import", str(ranked), *folder]) == 0
    assert "Run 1 holds 3 groups, 2 labelled. 1 waits on the Label page." in capsys.readouterr().out
    assert main(["export", "1", str(tmp_path / "out"), "--layout", "pairs", *folder]) == 0
    assert main(["import", str(tmp_path / "nothing"), *folder]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_groups_that_people_judged_go_out_alone(ranked, tmp_path, capsys):
    folder = ["--folder", str(tmp_path / "lab")]
    assert main(["import", str(ranked), *folder]) == 0
    assert main(["export", "1", str(tmp_path / "out"), "--only", "labelled", *folder]) == 0
    assert [group.prompt for group in load_groups(tmp_path / "out")] == ["a red circle", HOSTILE]
    for name in ("a_red_circle", "hostile"):
        (ranked / name).rename(tmp_path / name)
    assert main(["import", str(ranked), *folder]) == 0
    assert main(["export", "2", str(tmp_path / "none"), "--only", "labelled", *folder]) == 2
    assert "People have judged none of these groups. Label some first, or export all" in capsys.readouterr().err


@pytest.mark.parametrize("layout", EXPORT_LAYOUTS)
def test_all_lost_pictures_are_named_and_nothing_is_written(writer, reader, ranked, tmp_path, layout):
    run_id, _ = import_groups(writer, ranked, "mine")
    circle, hostile, _ = reader.label_tasks(run_id)
    with closing(sqlite3.connect(tmp_path / "lab.db")) as other_program:
        other_program.executemany("DELETE FROM pictures WHERE sha = ?", [[circle.shas[3]], [hostile.shas[0]]])
        other_program.commit()
    words = r"2 pictures are gone from the store \(step/group\): picture 4 of 0/0; picture 1 of 0/1\. Put a backup"
    with pytest.raises(ExchangeError, match=words):
        export_groups(reader, run_id, tmp_path / "out", layout)
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith("out")]


def test_an_export_that_fails_leaves_no_half_folder(writer, reader, ranked, tmp_path):
    (ranked / "a_red_circle").rename(tmp_path / "aside")
    (ranked / "hostile").rename(tmp_path / "aside2")
    run_id, _ = import_groups(writer, ranked, "mine")
    with pytest.raises(ExchangeError, match="Label some groups first"):
        export_groups(reader, run_id, tmp_path / "pairs", "pairs")
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith("pairs")]
