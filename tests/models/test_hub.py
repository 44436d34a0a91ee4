"""A model by its Hugging Face id: what is fetched is the folder, and what goes wrong is said in one sentence."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_families import save_small_family
from small_hub import NAME, ask_instead, small_hub

from dgpo_core.assembly import assemble
from dgpo_core.config import from_dict
from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import load
from dgpo_core.models.source import configurations_fetched, fetched
from dgpo_core.rollout import starting_noise

UNREACHED = rf"{NAME} is neither a folder here nor fetched before as a whole, and the Hub cannot be reached"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return save_small_family("sd", tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture
def hub(repository, tmp_path):
    with small_hub(repository, tmp_path / "fetched") as hub:
        yield hub


@pytest.fixture
def cached(repository, tmp_path):
    """Where the whole model was fetched to, from a Hub that is gone."""
    with small_hub(repository, tmp_path / "fetched"):
        fetched(NAME)
    return tmp_path / "fetched"


def loaded(name):
    return load(ModelConfig(folder=str(name), lora_rank=2), seed=0)


def pictures(model):
    noise = starting_noise([0], model.latent_shape, model.device)
    with torch.no_grad():
        velocity = model.velocity(noise, torch.tensor(0.7), model.encode(["a red circle"]))
    return np.stack(model.decode(velocity))


def refused(words):
    """Expects a ModelError of one line that matches words."""
    return pytest.raises(ModelError, match=rf"\A.*{words}[^\n]*\Z")


def test_a_model_by_its_id_is_the_folder_of_its_repository(hub, repository):
    mine, true = loaded(NAME), loaded(repository)
    assert np.array_equal(pictures(mine), pictures(true))
    assert mine.identity() == true.identity()
    fetched_once = list(hub.sent)
    assert np.array_equal(pictures(loaded(NAME)), pictures(true))
    assert hub.sent == fetched_once


def test_pickles_are_not_fetched(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "pickled")
    weights = next((folder / "unet").glob("*.safetensors"))
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with small_hub(folder, tmp_path / "fetched") as hub, refused("has weights that are not safetensors.*a pickle"):
        fetched(NAME)
    assert not [name for name in hub.sent if name.endswith(".bin")]


def test_a_download_that_breaks_off_is_said_and_goes_on_next_time(hub, repository):
    hub.breaks_off = ".safetensors"
    with refused(UNREACHED):
        fetched(NAME)
    hub.breaks_off = ""
    assert np.array_equal(pictures(loaded(NAME)), pictures(loaded(repository)))


def test_what_broke_off_is_not_taken_for_a_model(hub, tmp_path, monkeypatch):
    hub.breaks_off = ".safetensors"
    with refused(UNREACHED):
        fetched(NAME)
    ask_instead(monkeypatch, "http://127.0.0.1:9", tmp_path / "fetched")
    with refused(UNREACHED):
        fetched(NAME)


def test_an_index_alone_is_not_taken_for_a_model(hub, tmp_path, monkeypatch):
    folder = configurations_fetched(NAME)
    for path in folder.iterdir():
        if path.name != "model_index.json":
            shutil.rmtree(path)
    shutil.rmtree(next((tmp_path / "fetched").glob("models--*")) / "trees", ignore_errors=True)
    ask_instead(monkeypatch, "http://127.0.0.1:9", tmp_path / "fetched")
    with refused(UNREACHED):
        fetched(NAME)


def test_a_model_that_was_fetched_before_needs_no_network(cached, repository, monkeypatch):
    ask_instead(monkeypatch, "http://127.0.0.1:9", cached)
    assert np.array_equal(pictures(loaded(NAME)), pictures(loaded(repository)))


def test_a_model_that_was_fetched_before_does_not_wait_for_a_hub_that_is_silent(cached, repository, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    with small_hub(repository, cached) as hub:
        hub.silence.set()
        assert (fetched(NAME) / "model_index.json").is_file()
    assert not hub.sent


def test_a_model_that_was_not_fetched_is_refused_where_the_hub_is_silent(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    hub.silence.set()
    for fetch in (fetched, configurations_fetched):
        with refused(UNREACHED):
            fetch(NAME)


def test_a_disk_that_refuses_is_not_taken_for_pickles(repository, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with small_hub(repository, tmp_path / "file" / "fetched"), refused("cannot be fetched: .*Not a directory") as said:
        fetched(NAME)
    assert "pickle" not in str(said.value)


def test_a_base_with_an_innocent_name_is_looked_at_again_once_it_is_fetched(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "distilled")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("DDIMScheduler", "LCMScheduler"))
    config = from_dict({"model": {"folder": NAME, "lora_rank": 2}, "reward": {"train": "brightness"}})
    with small_hub(folder, tmp_path / "fetched"):
        said = assemble(config, tmp_path / "checkpoints").cautions
    assert [words for words in said if "has the scheduler LCMScheduler" in words]
    assert [words for words in said if "Begin with the recipe sd15" in words]
