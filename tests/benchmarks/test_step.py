"""What is made of the times of steps with and without pages."""

import pytest

from benchmarks.report import step
from benchmarks.step import slowdown_by_pages, summary

WORK = [5.0, 7.0, 3.0, 6.0, 4.0, 5.5, 6.5, 3.5]


def rows(pages_at, pages_cost, drift=1.0):
    """Steps of unequal work, dearer with pages, in a run that is slower throughout."""
    watched = [index % 2 == pages_at for index in range(len(WORK))]
    return [
        {"seconds": drift * work * (pages_cost if open_ else 1), "overhead": 0.04, "pages": float(open_)}
        for work, open_ in zip(WORK, watched, strict=True)
    ]


@pytest.mark.parametrize("drift", [0.8, 1.0, 1.3])
def test_the_pages_part_is_told_from_unequal_work_and_a_slower_run(drift):
    share, error = slowdown_by_pages(rows(1, 1.03), rows(0, 1.03, drift))
    assert share == pytest.approx(0.03)
    assert error == pytest.approx(0, abs=1e-9)


def test_noise_shows_in_the_error():
    noisy = rows(1, 1.03)
    for index, row in enumerate(noisy):
        row["seconds"] *= 1.1 if index < 4 else 1
    share, error = slowdown_by_pages(noisy, rows(0, 1.03))
    assert error > 0.01
    assert abs(share - 0.03) < 2 * error


def test_the_first_two_steps_warm_up_and_do_not_count():
    one, other = rows(1, 1.0), rows(0, 1.0)
    one[0]["seconds"] = other[1]["seconds"] = 1000.0
    assert summary([[one, other]])["step_seconds"] < 8
    assert summary([[one, other]])["slowdown_by_pages"] == pytest.approx(0)


def test_seeds_are_told_apart_and_count_alike():
    pairs = [[rows(1, 1.02), rows(0, 1.02)], [rows(1, 1.04, 2.0), rows(0, 1.04, 2.0)]]
    found = summary(pairs)
    first, second = found["step_seconds_by_seed"]
    assert second == pytest.approx(2 * first)
    assert first < found["step_seconds"] < second
    assert found["step_seconds_of_ten_nine_below"] > second
    assert found["slowdown_by_pages"] == pytest.approx(0.03)
    assert found["standard_error"] == pytest.approx(0, abs=1e-9)


def test_the_table_names_the_seconds_of_each_seed():
    found = summary([[rows(1, 1.0), rows(0, 1.0)], [rows(1, 1.0, 2.0), rows(0, 1.0, 2.0)]])
    told = step(found | {"pictures_per_step": 96, "pages": 10})
    first, second = found["step_seconds_by_seed"]
    assert f"| the same, each seed | {first:.2f}, {second:.2f} |" in told
    assert "slowdown with 10 open pages" in told.splitlines()[-1]
