"""A small storm of labels: a real lab, broken connections, and a kill in the middle."""

import pytest

from benchmarks.label_storm import Statement, Tally, judged, storm


@pytest.mark.slow
def test_nothing_that_was_answered_for_is_lost_and_nothing_is_doubled(tmp_path):
    found = storm(tmp_path, num_clients=4, num_groups=10, disconnects=0.3)
    assert (found["sent"], found["acknowledged"], found["stored"]) == (40, 40, 40)
    assert (found["lost"], found["altered"], found["doubled"], found["of_nobody"]) == (0, 0, 0, 0)
    assert found["kills"] == 1
    assert found["cut"] > 0
    assert found["refused"] > 0


def said(group_id, order):
    return Statement(group_id, "ann", "ranking", {"tiers": [[one] for one in order]})


def test_a_label_is_compared_by_what_it_says():
    tally = Tally(
        acknowledged={"a": said(1, [0, 1]), "b": said(2, [0, 1]), "c": said(3, [0, 1])}, sent={"a", "b", "c", "d"}
    )
    stored = {"a": said(1, [0, 1]), "b": said(2, [1, 0]), "e": said(1, [0, 1])}
    assert judged(stored, tally) == {
        "sent": 4,
        "acknowledged": 3,
        "lost": 1,
        "altered": 1,
        "doubled": 1,
        "of_nobody": 1,
    }
