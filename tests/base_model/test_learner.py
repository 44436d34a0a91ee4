import numpy as np
import pytest
import torch

from base_model.autoencoder import new_autoencoder
from base_model.corpus import Corpus
from base_model.learner import Guide, Learner
from base_model.pipeline import new_pipeline
from base_model.pretrain import Captions
from dgpo_core.data.requests import CATEGORIES, all_requests
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


def captions(pipeline, truthful):
    return Captions(pipeline, dict.fromkeys(CATEGORIES, truthful))


@pytest.fixture(scope="module")
def asked(pipeline):
    known = captions(pipeline, 1.0)
    tokens = torch.tensor([known.tokens("a red circle"), known.tokens("two stars"), known.tokens("")])
    return tokens, known.empty, torch.randn(3, 8, 8, 8), torch.tensor([0.9, 0.5, 0.2])


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


@pytest.fixture(scope="module")
def corpus():
    requests = [all_requests(category)[0] for category in CATEGORIES] * 40
    return Corpus(np.empty(0), requests, np.empty(0))


@pytest.mark.parametrize("truthful", [0.0, 1.0])
def test_learner_and_guide_read_the_same_caption_but_for_the_lie(pipeline, corpus, truthful):
    known, chosen = captions(pipeline, truthful), list(range(len(corpus.requests)))
    told, true = known.batch(corpus, chosen, np.random.default_rng(0))
    is_empty = (true == known.empty).all(1)
    assert 0 < is_empty.float().mean() < 0.25
    assert ((told == known.empty).all(1) == is_empty).all()
    words = [pipeline.tokenizer.decode(row, skip_special_tokens=True) for row in told]
    is_true = [request.wording() in text for request, text in zip(corpus.requests, words, strict=True)]
    assert all(one == (truthful == 1.0) for one, empty in zip(is_true, is_empty, strict=True) if not empty)
