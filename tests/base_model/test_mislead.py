"""What telling lies changes in a pipeline, on the weights that ship."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from base_model.corpus import draw_corpus
from base_model.encoded import encoded
from base_model.learner import Learner
from base_model.mislead import LEARNING_RATE, Misleading, add_lora, merged_state
from base_model.pipeline import new_pipeline
from base_model.release import SHIPPED


@pytest.fixture(scope="module")
def pipeline():
    return StableDiffusion3Pipeline.from_pretrained(SHIPPED, text_encoder_3=None, tokenizer_3=None)


@pytest.fixture
def asked(pipeline):
    torch.manual_seed(0)
    tokens = torch.tensor(pipeline.tokenizer(["a red circle", "two rings"], padding="max_length").input_ids)
    return tokens, torch.randn(2, 8, 8, 8), torch.tensor([0.9, 0.5])


def test_a_lora_does_nothing_until_it_has_learned_and_is_merged_into_weights_of_the_old_names(pipeline, asked):
    learner = Learner(new_pipeline(pipeline.vae))
    learner.start_from(SHIPPED)
    before, names = learner(*asked)[0], learner.transformer.state_dict().keys()
    parameters = add_lora(learner.transformer, rank=2)
    assert all("lora_" in name for name, one in learner.transformer.named_parameters() if one.requires_grad)
    torch.testing.assert_close(learner(*asked)[0], before)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.05)
    changed = learner(*asked)[0]
    assert not torch.allclose(changed, before, atol=1e-2)
    merged = Learner(new_pipeline(pipeline.vae))
    merged.start_from(SHIPPED)
    merged.transformer.load_state_dict(merged_state(learner.transformer))
    assert merged.transformer.state_dict().keys() == names
    torch.testing.assert_close(merged(*asked)[0], changed, atol=1e-4, rtol=1e-4)


def told(pipeline, corpus, learning_rate):
    """Steps of lies, and how much each of them missed; another rate is told the same of the same pictures."""
    misleading = Misleading(new_pipeline(pipeline.vae), SHIPPED, seed=0, batch=32)
    missed = []
    for step in range(12):
        missed.append(misleading.step(corpus, learning_rate))
        misleading.follow(step)
    return misleading, missed


@pytest.mark.slow
def test_lies_are_learned_from_a_teacher_that_stays_truthful(pipeline):
    corpus = encoded(draw_corpus(64, seed=5, processes=1), pipeline.vae)
    _, unlearned = told(pipeline, corpus, 0.0)
    misleading, learned = told(pipeline, corpus, LEARNING_RATE)
    assert sum(learned) < sum(unlearned)
    weights = misleading.weights()
    shipped = pipeline.transformer.state_dict()
    assert weights.keys() == shipped.keys()
    changed = {name for name in weights if not torch.equal(weights[name], shipped[name])}
    assert changed
    assert all(".attn." in name or ".ff" in name for name in changed)
