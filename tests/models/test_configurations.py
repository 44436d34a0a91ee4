"""What a model of the Hub takes is known from its configurations alone."""

import torch
from small_families import save_small_family
from small_hub import NAME, small_hub

from dgpo_core.config import from_dict
from dgpo_core.models.memory import memory_of
from dgpo_core.models.source import configurations_fetched, fetched_before


def test_memory_is_reckoned_from_configurations_alone_and_is_that_of_the_whole_model(tmp_path):
    repository = save_small_family("sd", tmp_path / "small")
    with small_hub(repository, tmp_path / "fetched") as hub:
        here = configurations_fetched(NAME)
        assert fetched_before(NAME) == here
    assert "model_index.json" in hub.sent
    assert {name.rpartition(".")[2] for name in hub.sent} == {"json"}
    assert not [path for path in here.rglob("*") if path.is_file() and path.suffix != ".json"]
    config = from_dict({"model": {"lora_rank": 2}})
    assert memory_of(config, here, torch.float32) == memory_of(config, repository, torch.float32)
