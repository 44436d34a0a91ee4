"""A small storm of labels: a real lab, broken connections, and a kill in the middle."""

import pytest

from benchmarks.label_storm import storm


@pytest.mark.slow
def test_nothing_that_was_answered_for_is_lost_and_nothing_is_doubled(tmp_path):
    found = storm(tmp_path, num_clients=4, num_groups=10, disconnects=0.3)
    assert (found["sent"], found["acknowledged"], found["stored"]) == (40, 40, 40)
    assert (found["lost"], found["doubled"], found["of_nobody"]) == (0, 0, 0)
    assert found["kills"] == 1
    assert found["broken"] > 0
