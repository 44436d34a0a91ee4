"""How far raters are believed, where it is known who is honest, who guesses, and who says the opposite."""

import numpy as np
import pytest

from dgpo_core.rewards.label_scores import agreement, merged
from dgpo_core.rewards.reliability import UNKNOWN_QUALITY, Match, Opinion, matches, qualities, weight_of

TRUTH = [float(place) for place in range(8)]


def said(rater, groups, noise, rng, sign=1):
    """Opinions of groups whose truth is TRUTH, with noise in units of one place."""
    return [
        Opinion(rater, group, [sign * (value + noise * rng.normal()) for value in TRUTH]) for group in range(groups)
    ]


def found_of(*opinions):
    together = [one for some in opinions for one in some]
    return qualities({one.rater for one in together}, matches(together))


def test_an_honest_a_noisy_and_an_adversarial_rater_are_told_apart():
    rng = np.random.default_rng(0)
    found = found_of(
        said("honest", 20, 1, rng), said("steady", 20, 1, rng), said("noisy", 20, 6, rng), said("liar", 20, 1, rng, -1)
    )
    assert found["honest"] > 0.7
    assert found["steady"] > 0.7
    assert 0 < found["noisy"] < 0.6
    assert found["liar"] < 0
    assert weight_of(found["honest"]) > 2 * weight_of(found["noisy"]) > 0
    assert weight_of(found["liar"]) == 0


def test_weights_by_reliability_bring_the_mean_nearer_to_the_truth():
    rng = np.random.default_rng(1)
    crowd = [
        said("honest", 12, 1, rng),
        said("noisy", 12, 8, rng),
        said("noisier", 12, 8, rng),
        said("steady", 12, 1, rng),
    ]
    found = found_of(*crowd)
    fresh = [said("honest", 40, 2, rng), said("noisy", 40, 8, rng), said("noisier", 40, 8, rng)]

    def nearness(weights):
        means = [merged([one[group].scores for one in fresh], weights) for group in range(40)]
        return np.mean([agreement(mean, TRUTH) for mean in means])

    weights = [weight_of(found[one[0].rater]) for one in fresh]
    assert nearness(weights) > nearness([1.0, 1.0, 1.0]) + 0.05


def test_who_contradicts_themselves_on_repeated_groups_is_believed_less():
    rng = np.random.default_rng(2)
    steady = [*said("steady", 10, 0.5, rng), *said("steady", 10, 0.5, rng)]
    fickle = [Opinion("fickle", group, list(rng.permutation(TRUTH))) for group in range(100, 110) for _ in range(2)]
    found = found_of(steady, fickle)
    assert found["steady"] > UNKNOWN_QUALITY > found["fickle"]


def test_of_two_who_contradict_each_other_neither_is_believed_more():
    found = qualities(["ann", "bob"], [Match("ann", "bob", -1.0)] * 5)
    assert found["ann"] == pytest.approx(found["bob"])


def test_of_whom_nothing_is_known_the_usual_is_assumed():
    assert qualities(["ann"], []) == {"ann": pytest.approx(UNKNOWN_QUALITY)}
    assert weight_of(UNKNOWN_QUALITY) > 0
    assert weight_of(1.0) == weight_of(0.95) < 10


def test_opinions_match_only_within_a_group_and_where_both_have_an_order():
    opinions = [
        Opinion("ann", 1, [1.0, 2.0, 3.0]),
        Opinion("bob", 1, [3.0, 2.0, 1.0]),
        Opinion("eve", 1, [1.0, 1.0, 1.0]),
        Opinion("ann", 2, [1.0, 2.0, 3.0]),
        Opinion("ann", 2, [1.0, 2.0, 3.0]),
    ]
    assert matches(opinions) == [Match("ann", "bob", pytest.approx(-1)), Match("ann", "ann", pytest.approx(1))]
