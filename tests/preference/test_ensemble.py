"""Heads learned from labels of annotators whose taste is known."""

import numpy as np
import pytest
import torch
from drawn_groups import drawn_groups, labelled_by

from dgpo_core.preference.ensemble import learned
from dgpo_core.preference.learned_reward import table_of
from dgpo_core.preference.orders import trust
from dgpo_core.preference.picture_features import NUM_SEEN
from dgpo_core.rewards.annotators import TASTES, annotator

WEIGHTS = torch.ones(NUM_SEEN)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def groups():
    return drawn_groups(60)


@pytest.fixture(scope="module")
def unseen():
    return drawn_groups(30, seed=1)


def heads_of(groups, annotate, **options):
    features, said = table_of(labelled_by(annotate, groups))
    return learned(features, said, WEIGHTS, **{"seed": 0} | options)[0]


def accuracy_on(heads, unseen, taste):
    features, said = table_of(labelled_by(annotator(TASTES[taste]), unseen))
    strength = heads.strengths(features.flatten(0, 1)).mean(0).unflatten(0, (len(unseen), -1))
    return trust(strength, said).accuracy


@pytest.mark.parametrize("taste", TASTES)
def test_forty_groups_labelled_with_noise_teach_a_taste(groups, unseen, taste):
    heads = heads_of(groups[:40], annotator(TASTES[taste], noise=0.1))
    assert accuracy_on(heads, unseen, taste) > 0.8


def test_an_adversarial_annotator_teaches_the_opposite(groups, unseen):
    heads = heads_of(groups[:40], annotator(TASTES["large"], is_adversarial=True))
    assert accuracy_on(heads, unseen, "large") < 0.2


def test_an_annotator_without_a_taste_teaches_nothing_and_the_trust_says_so(groups):
    def at_random(group, rng):
        return annotator(lambda picture: rng.random())(group, rng)

    features, said = table_of(labelled_by(at_random, groups))
    _, found = learned(features, said, WEIGHTS, seed=0)
    assert found.accuracy == pytest.approx(0.5, abs=0.07)


def test_the_trust_measured_on_held_out_groups_is_near_the_truth(groups, unseen):
    annotate = annotator(TASTES["large"])
    features, said = table_of(labelled_by(annotate, groups[:40]))
    heads, found = learned(features, said, WEIGHTS, seed=0)
    truth = accuracy_on(heads, unseen, "large")
    assert found.accuracy == pytest.approx(truth, abs=0.06)
    assert found.calibration_error < 0.1
    assert found.num_pairs == sum(one.count for one in found.bins)


def test_more_labels_teach_more(groups, unseen):
    annotate = annotator(TASTES["large"], noise=0.1)
    assert accuracy_on(heads_of(groups[:3], annotate), unseen, "large") < accuracy_on(
        heads_of(groups, annotate), unseen, "large"
    )


def test_the_same_arguments_give_the_same_bits_and_no_global_generator_is_touched(groups):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    one, other = (heads_of(groups[:10], annotator(TASTES["large"])) for _ in range(2))
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    another = heads_of(groups[:10], annotator(TASTES["large"]), seed=1)
    assert not torch.equal(another.first, one.first)


def test_measuring_the_trust_leaves_the_heads_as_they_are(groups):
    features, said = table_of(labelled_by(annotator(TASTES["large"]), groups[:10]))
    with_trust, found = learned(features, said, WEIGHTS, seed=0)
    without, nothing = learned(features, said, WEIGHTS, seed=0, is_trust_wanted=False)
    assert found is not None
    assert nothing is None
    assert torch.allclose(with_trust.linear, without.linear, atol=1e-4)


def test_groups_without_a_preference_or_of_another_size_change_nothing_else(groups):
    labelled = labelled_by(annotator(TASTES["large"]), groups[:6])
    plain, trust_in_plain = learned(*table_of(labelled), WEIGHTS, seed=0)
    silent = (labelled[0][0][:5], [1.0] * 5)
    joined, trust_in_joined = learned(*table_of([silent, *labelled]), WEIGHTS, seed=0)
    assert trust_in_plain == trust_in_joined
    assert all(torch.equal(value, joined.tensors()[name]) for name, value in plain.tensors().items())


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="no group has a preference"):
        learned(torch.zeros(2, 3, 4), torch.ones(2, 3), torch.ones(4), seed=0)
    one_group = torch.arange(12.0).view(1, 3, 4), torch.tensor([[2.0, 1.0, 0.0]])
    assert learned(*one_group, torch.ones(4), seed=0)[1] is None
