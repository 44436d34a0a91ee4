"""The layout imagefolder: what the library datasets reads of it."""

import json

import pytest
from ranked_folders import HOSTILE

from app.exchange.export import export_groups
from app.exchange.importing import import_groups


def test_load_dataset_reads_pictures_prompts_and_labels(writer, reader, ranked, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the extra of requirements-datasets.txt is not installed")
    run_id, _ = import_groups(writer, ranked, "mine")
    export_groups(reader, run_id, tmp_path / "out", "imagefolder")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    rows = sorted(loaded, key=lambda row: row["group"])  # the order of groups is the library's own
    assert [row["group"] for row in rows] == ["0/0"] * 4 + ["0/1"] * 2 + ["0/2"] * 2
    assert [row["prompt"] for row in rows] == ["a red circle"] * 4 + [HOSTILE] * 2 + ["unjudged"] * 2
    assert [row["image"].getpixel((0, 0)) for row in rows][4:6] == [(255, 255, 255), (0, 0, 0)]
    assert [row["preference"] for row in rows][4:] == [1.0, -1.0, None, None]
    assert [one["body"] for one in json.loads(rows[4]["labels"])] == [{"tiers": [[0], [1]]}]
