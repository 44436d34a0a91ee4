"""What picking saves, and how far seeds differ in it, follows from the curves that were measured."""

import numpy as np
import pytest

from benchmarks.label_saving import ASKED, interval, saving_of, savings, taken_up
from benchmarks.record import kept

RISING = [0.5 + turn / 40 for turn in range(20)]
TWICE_AS_FAST = [0.5 + turn / 20 for turn in range(20)]


def seeds(*picked):
    return [{"random": RISING, "picked": one} for one in picked]


def test_the_kept_savings_follow_from_the_kept_curves():
    result = kept("label_saving")
    assert result is not None
    found = savings(result["curves"])
    assert found.keys() == result["savings"].keys()
    for taste, rows in found.items():
        for row, known in zip(rows, result["savings"][taste], strict=True):
            assert row.keys() == known.keys()
            for name, value in row.items():
                assert value == pytest.approx(known[name], abs=1e-9)


def test_seeds_that_agree_have_no_spread():
    of_seeds = seeds(TWICE_AS_FAST, TWICE_AS_FAST, TWICE_AS_FAST)
    saved = saving_of(of_seeds, 20)["saved"]
    assert saved == pytest.approx(1 - (9 / 2 + 1) * ASKED / 20)  # the tenth turn's accuracy, after half as many turns
    assert interval(of_seeds, 20, np.random.default_rng(0)) == pytest.approx([saved, saved])


def test_seeds_that_differ_have_one_around_their_saving():
    of_seeds = seeds(TWICE_AS_FAST, RISING, TWICE_AS_FAST, RISING)
    low, high = interval(of_seeds, 20, np.random.default_rng(0))
    assert low < saving_of(of_seeds, 20)["saved"] < high
    assert low == pytest.approx(0.0)
    assert high == pytest.approx(saving_of(seeds(TWICE_AS_FAST), 20)["saved"])


def test_picking_that_never_gets_there_counts_as_the_last_label_of_its_curve():
    of_seeds = seeds([0.5] * 20, [0.5] * 20)
    assert np.isnan(saving_of(of_seeds, 20)["saved"])
    assert interval(of_seeds, 20, np.random.default_rng(0)) == [1 - 40 / 20, 1 - 40 / 20]


def test_a_trial_does_not_take_the_place_of_what_was_measured_with_other_parameters():
    about = {"groups": 260, "noise": 0.1}
    before = {"about": about, "curves": {"large": {"0": seeds(RISING)[0]}}}
    with pytest.raises(SystemExit, match=r"'label_saving' is taken .* \(groups was 260, now 200\)\. Give .* --label"):
        taken_up(before, about | {"groups": 200}, "label_saving")


def test_curves_of_the_same_parameters_are_taken_up():
    about = {"groups": 260, "noise": 0.1}
    curves = {"large": {"0": seeds(RISING)[0]}}
    assert taken_up({"about": about, "curves": curves}, about, "label_saving") == curves
    assert taken_up(None, about, "label_saving-trial") == {}
