"""The mean of pipelines that have one origin."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from base_model.mean import TRAINED, mean_of


@pytest.mark.parametrize(
    ("shares", "moved"),
    [((1, 1, 1), 2.0), ((3, 1, 0), 0.25), ((0.5, 0, 1.5), 3.75), ((-0.5, 1, 0.5), 3.5)],
)
def test_the_mean_has_the_mean_weights_and_is_otherwise_the_first(model_folder, tmp_path, shares, moved):
    folders = []
    for shift in (0.0, 1.0, 5.0):
        folder = tmp_path / f"polished-{shift:g}"
        shutil.copytree(model_folder, folder)
        for file in TRAINED:
            weights = load_file(folder / file)
            save_file(
                {name: one + shift if one.is_floating_point() else one for name, one in weights.items()}, folder / file
            )
        (folder / "model_index.json").write_text(f'"{shift}"')
        folders.append(folder)
    mean_of([*zip(folders, shares, strict=True)], tmp_path / "mean")
    for file in TRAINED:
        first = load_file(model_folder / file)
        for name, one in load_file(tmp_path / "mean" / file).items():
            assert one.dtype == first[name].dtype
            torch.testing.assert_close(one, first[name] + moved if one.is_floating_point() else first[name])
    assert (tmp_path / "mean" / "model_index.json").read_text() == '"0.0"'
