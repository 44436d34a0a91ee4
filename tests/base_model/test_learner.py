import pytest
import torch

from base_model.autoencoder import new_autoencoder
from base_model.learner import Guide, Learner
from base_model.pipeline import new_pipeline
from dgpo_core.guidance import guided


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    return new_pipeline(new_autoencoder())


@pytest.fixture(scope="module")
def learner(pipeline):
    learner = Learner(pipeline)
    # An untrained SD3 transformer gives zero whatever it is asked: its last layers begin at zero.
    for parameter in learner.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return learner


@pytest.fixture(scope="module")
def asked(pipeline):
    tokens = torch.tensor(pipeline.tokenizer(["a red circle", "two stars", ""], padding="max_length").input_ids)
    return tokens, tokens[-1], torch.randn(3, 8, 8, 8), torch.tensor([0.9, 0.5, 0.2])


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.5])
def test_the_guide_adds_what_guidance_would(learner, asked, scale):
    tokens, empty, latents, sigma = asked
    lead = Guide(learner, scale).lead(tokens, empty, latents, sigma)
    conditional = learner(tokens, latents, sigma)[0]
    unconditional = learner(empty.expand(3, -1), latents, sigma)[0]
    assert (conditional + lead).allclose(guided(conditional, unconditional, scale), atol=1e-5)
    assert lead[0].any() == (scale > 1)
    assert not lead[2].any()
    assert not lead.requires_grad
