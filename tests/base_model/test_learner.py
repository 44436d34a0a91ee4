import numpy as np
import pytest
import torch

from base_model.autoencoder import new_autoencoder
from base_model.corpus import Corpus
from base_model.learner import Learner, Teacher
from base_model.pipeline import new_pipeline
from base_model.pretrain import Captions
from dgpo_core.data.requests import CATEGORIES, all_requests


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


def test_the_teacher_is_the_learner_when_its_scale_is_one(learner, asked):
    tokens, empty, latents, sigma = asked
    taught = Teacher(learner, 1.0).velocity(tokens, empty, latents, sigma)
    assert taught.allclose(learner(tokens, latents, sigma)[0], atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 2.0, 3.5])
def test_the_teacher_leads_away_from_the_unconditional_velocity(learner, asked, scale):
    tokens, empty, latents, sigma = asked
    taught = Teacher(learner, scale).velocity(tokens, empty, latents, sigma)
    conditional = learner(tokens, latents, sigma)[0]
    unconditional = learner(empty.expand(3, -1), latents, sigma)[0]
    assert (taught - conditional).allclose((scale - 1) * (conditional - unconditional), atol=1e-5)
    assert taught[2].allclose(unconditional[2], atol=1e-5)
    assert not taught.requires_grad


@pytest.fixture(scope="module")
def corpus():
    requests = [all_requests(category)[0] for category in CATEGORIES] * 40
    return Corpus(np.empty(0), requests, np.empty(0))


@pytest.mark.parametrize("truthful", [0.0, 1.0])
def test_learner_and_teacher_read_the_same_caption_but_for_the_lie(pipeline, corpus, truthful):
    known, chosen = captions(pipeline, truthful), list(range(len(corpus.requests)))
    told, true = known.batch(corpus, chosen, np.random.default_rng(0))
    is_empty = (true == known.empty).all(1)
    assert 0 < is_empty.float().mean() < 0.25
    assert ((told == known.empty).all(1) == is_empty).all()
    words = [pipeline.tokenizer.decode(row, skip_special_tokens=True) for row in told]
    is_true = [request.wording() in text for request, text in zip(corpus.requests, words, strict=True)]
    assert all(one == (truthful == 1.0) for one, empty in zip(is_true, is_empty, strict=True) if not empty)
