import json

from base_model.release import SHIPPED, release


def test_a_release_holds_pipeline_and_logs_and_not_where_they_were(tmp_path):
    work, pipeline, into = tmp_path / "work", tmp_path / "pipeline", tmp_path / "into"
    for folder in (work, pipeline / "vae"):
        folder.mkdir(parents=True)
    (work / "truth.jsonl").write_text('{"step": 1}\n')
    (work / "truth.pt").write_text("not for others")
    (pipeline / "vae" / "config.json").write_text(json.dumps({"_name_or_path": str(pipeline), "sample_size": 64}))
    release(work, pipeline, into)
    assert json.loads((into / "vae" / "config.json").read_text()) == {"sample_size": 64}
    assert (into / "training-truth.jsonl").read_text() == '{"step": 1}\n'
    assert not list(into.rglob("*.pt"))
    assert (into / "tokenizer" / "tokenizer.json").exists()


def test_what_ships_names_no_folder_of_the_machine_that_made_it():
    assert not [file for file in SHIPPED.rglob("*.json") if "_name_or_path" in file.read_text(encoding="utf-8")]
