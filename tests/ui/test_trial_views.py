"""Trials of rewards as plain values, and the tab's wishes."""

from dataclasses import replace

import pytest

from app.store.rows import TrialPictureRow, TrialRow
from app.ui.tabs.rewards import OWN_PICTURES, STORED_GROUP, _wish
from app.ui.trial_views import facts_of, heading, histogram, tried
from dgpo_core.errors import StoreError
from dgpo_core.reward_names import REWARD_NAMES

TRIAL = TrialRow(
    id=1,
    created="2026-01-01T00:00:00+00:00",
    reward="brightness",
    prompt="a cat",
    run_id=None,
    step=None,
    group_index=None,
    is_done=True,
    message="",
    passed=True,
    self_test="all is well",
    agreement=None,
)


def pictures(*rewards):
    return [
        TrialPictureRow(place=place, sha=f"{place}" * 64, reward=reward, terms=(("x", 0.5), ("y", 1.0)), details="seen")
        for place, reward in enumerate(rewards)
    ]


def test_the_heading_says_self_test_range_and_agreement():
    assert heading(TRIAL, pictures(0.0, 1.0, None)).splitlines() == [
        "Self-test passed: all is well.",
        "2 of 3 pictures judged: 0 to 1, mean 0.5.",
    ]
    group = replace(TRIAL, run_id=3, step=4, group_index=5, passed=False, agreement=0.5)
    assert heading(group, pictures(None)).splitlines() == [
        "Self-test FAILED: all is well.",
        "No opinion on any of 1 pictures.",
        "Group 5 of step 4 of run 3, “a cat”: agreement with people's labels (Kendall's tau, -1 to 1) 0.50.",
    ]
    unknown = replace(group, agreement=None)
    assert "nobody labelled it" in heading(unknown, pictures(1.0))
    assert heading(unknown, pictures(1.0), is_labelled=True).endswith(
        "its labels and this reward cannot be compared: one of them puts no picture before another, or the labels came "
        "after this trial."
    )
    assert heading(replace(TRIAL, is_done=False, message="no"), []) == "This trial failed: no"
    assert heading(replace(TRIAL, is_done=False), []).startswith("The reward is being loaded")


def test_pictures_come_best_first_and_those_without_an_opinion_last():
    drawn = tried(pictures(0.2, None, 0.9))
    assert [one["reward"] for one in drawn["pictures"]] == [0.9, 0.2, None]
    assert drawn["pictures"][0] == {"url": f"/pictures/{'2' * 64}.png", "reward": 0.9, "words": "seen. x 0.5, y 1"}
    assert tried([]) is None


def test_the_histogram_counts_every_picture_once():
    rows = histogram(pictures(0.0, 0.05, 0.95, 1.0, None))["rows"]
    assert [row["cells"][2] for row in rows] == ["2", *["–"] * 8, "2"]  # noqa: RUF001 - the dash of an empty cell
    assert (rows[0]["cells"][:2], rows[-1]["cells"][:2]) == (["0", "0.1"], ["0.9", "1"])
    assert [row["cells"][2] for row in histogram(pictures(3.0, 3.0))["rows"]] == ["2"]
    assert histogram(pictures(None))["rows"] == []


@pytest.mark.parametrize("name", REWARD_NAMES)
def test_every_reward_has_its_facts(name):
    words = facts_of(name)
    assert words.startswith("Measures ")
    assert "higher is better" in words


def test_a_mixture_has_no_documented_range():
    assert "no documented range" in facts_of("ocr*2 + brightness")


def test_the_form_becomes_a_wish(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    own = _wish(OWN_PICTURES, (" ocr ", [str(tmp_path / "a.png")], " p ", "{}", None, 0, 0, " s", None, ""))
    assert (own.reward, own.files, own.prompt, own.note, own.server, own.run_id) == (
        "ocr",
        (b"x",),
        "p",
        "{}",
        "s",
        None,
    )
    group = _wish(STORED_GROUP, ("ocr", None, "", "", 3, 4.0, 5, "", "", ""))
    assert (group.run_id, group.step, group.group_index, group.files) == (3, 4, 5, ())


def test_a_picture_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(17 * 2**20)  # a hole, which takes no room
    with pytest.raises(StoreError, match=r"a\.png has 17 MB; a picture may have 16"):
        _wish(OWN_PICTURES, ("ocr", [str(tmp_path / "a.png")], "p", "", None, 0, 0, "", "", ""))


@pytest.mark.parametrize(("run", "step", "group"), [(None, 0, 0), (1, None, 0), (1, 0.5, 0), (1, 0, -1), ("1", 0, 0)])
def test_a_group_that_is_not_named_is_refused(run, step, group):
    with pytest.raises(StoreError, match="Choose a run, and a step and a group"):
        _wish(STORED_GROUP, ("ocr", None, "", "", run, step, group, "", "", ""))
