"""The mean of pipelines that were polished from one."""

import torch
from safetensors.torch import load_file, save_file

from base_model.mean import WEIGHTS, mean_of


def test_the_mean_has_the_mean_weights_and_is_otherwise_the_first(model_folder, tmp_path):
    weights = load_file(model_folder / WEIGHTS)
    name = next(name for name, one in weights.items() if one.is_floating_point())
    folders = []
    for shift in (0.0, 1.0, 5.0):
        folder = tmp_path / f"polished-{shift:g}"
        (folder / WEIGHTS).parent.mkdir(parents=True)
        save_file(weights | {name: weights[name] + shift}, folder / WEIGHTS)
        (folder / "model_index.json").write_text(f'"{shift}"')
        folders.append(folder)
    mean_of(folders, tmp_path / "mean")
    found = load_file(tmp_path / "mean" / WEIGHTS)
    torch.testing.assert_close(found.pop(name), weights.pop(name) + 2)
    torch.testing.assert_close(found, weights)
    assert (tmp_path / "mean" / "model_index.json").read_text() == '"0.0"'
