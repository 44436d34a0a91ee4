import pytest
import torch
from doubled_model import Watched

from dgpo_core.ema import WeightCopy
from dgpo_core.models.sd3 import SD3Model


@pytest.fixture(scope="module")
def doubled(model_folder):
    """The small model in double precision, its LoRA not zero, and an old policy a little beside it."""
    model = SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=0)
    model.pipeline.transformer.double()
    parameters = model.policy_parameters()
    generator = torch.Generator().manual_seed(2)

    def move(size):
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    move(0.1)
    old_policy = WeightCopy.of(parameters)
    move(0.003)
    return model, old_policy


@pytest.fixture
def watched(doubled):
    model, _ = doubled
    for parameter in model.policy_parameters().values():
        parameter.grad = None
    return Watched(model)


@pytest.fixture
def old_policy(doubled):
    return doubled[1]
