"""docs/results.md says what the measurements in benchmarks/results say."""

from copy import deepcopy

from benchmarks.base_profile import over_seeds
from benchmarks.report import (
    MEASURED_ONCE,
    PAGE,
    SECTIONS,
    WHEN_MEASURED,
    base_profile,
    filled,
    learning,
    over_runs,
    people_steer,
)


def test_the_results_page_is_current():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run python -m benchmarks.report"


def test_sections_that_come_when_they_are_measured_have_a_place_for_what_was():
    assert WHEN_MEASURED.keys() == {"memory", "memory-8bit", "memory-4bit", "ablations"}
    for mark, section in WHEN_MEASURED.items():
        assert mark in SECTIONS
        assert section.endswith(f"<!-- {mark} -->\n<!-- end -->\n")


def test_spread_is_over_runs_and_their_number_is_said():
    assert over_runs([0.5, 0.7]) == "0.600 ± 0.141 (n=2)"


def test_a_single_run_has_no_spread():
    assert over_runs([0.5]) == "0.500 (n=1)"


def mark(score: float, steps: int) -> dict:
    scores = {"single": {"mean": 1.0, "std": 0.0}, "overall": {"mean": score, "std": 0.0}}
    quality = {"clean things": {"mean": 0.9, "std": 0.0}, "Frechet distance": {"mean": 0.1, "std": 0.0}}
    return {"scores": scores, "quality": quality, "steps": steps, "minutes": 1.0}


def test_a_mark_that_some_seeds_have_not_reached_counts_only_those_that_have():
    runs = {"0": {"base": mark(0.5, 0), "10": mark(0.7, 90)}, "1": {"base": mark(0.6, 0)}}
    rows = learning({"runs": runs}).splitlines()
    assert rows[2].startswith("| base | 0.550 ± 0.071 (n=2) |")
    assert rows[3].startswith("| 10 min | 0.700 (n=1) | 0.70 (overall) |")
    assert rows[5] == "| after | clean things | Frechet distance |"
    assert rows[7:] == [
        "| base | 0.900 ± 0.000 (n=2) | 0.100 ± 0.000 (n=2) |",
        "| 10 min | 0.900 (n=1) | 0.100 (n=1) |",
    ]


def test_a_base_that_was_examined_once_for_all_seeds_is_told_once_with_the_spread_of_its_examination():
    base = mark(0.5, 0)
    base["scores"]["overall"] = {"mean": 0.5, "std": 0.02, "by_seed": [0.48, 0.5, 0.52]}
    base["quality"]["Frechet distance"] = {"mean": 0.1}
    runs = {seed: {"base": deepcopy(base), "10": mark(score, 90)} for seed, score in (("0", 0.7), ("1", 0.8))}
    rows = learning({"runs": runs}).splitlines()
    assert rows[2:4] == [
        "| base | 0.500 ± 0.020 | 0.50 (overall) | 0 |",
        "| 10 min | 0.750 ± 0.071 (n=2) | 0.70 (overall), 0.80 (overall) | 90, 90 |",
    ]
    assert rows[7].startswith("| base | 0.900 ± 0.000 | 0.100 |")
    assert rows[-1] == MEASURED_ONCE.strip()


def steered(area, clean):
    before = {"area": area, "clean things": clean}
    after = {"area": 2 * area, "clean things": clean - 0.1}
    return {"labels": 60, "steps": 80, "before": before, "after": after, "moved": 2.0, "lost": 0.01}


def test_the_base_that_every_seed_steered_is_told_without_a_spread():
    told = people_steer({"runs": {"0": steered(176.13626, 0.96), "1": steered(176.13631, 0.96)}})
    assert "| area of a thing, before | 176.136 |" in told
    assert "| clean things, before | 0.960 |" in told
    assert "| clean things, after | 0.860 ± 0.000 (n=2) |" in told


def test_bases_that_differ_are_told_with_their_spread():
    told = people_steer({"runs": {"0": steered(170.0, 0.96), "1": steered(180.0, 0.96)}})
    assert "| area of a thing, before | 175.000 ± 7.071 (n=2) |" in told


def test_the_base_is_told_seed_by_seed_where_its_measurement_kept_that():
    quality = over_seeds([{"clean things": value} for value in (0.97, 0.96, 0.98)])
    assert quality["clean things"]["by_seed"] == [0.97, 0.96, 0.98]
    result = {"scores": {"overall": {"mean": 0.6, "std": 0.01}}, "sd35_medium": {}, "quality": quality}
    told = base_profile(result)
    assert told.endswith("\nClean things, seed by seed: 0.9700, 0.9600, 0.9800.\n")
    del quality["clean things"]["by_seed"]
    assert told.startswith(base_profile(result))
    assert "seed by seed" not in base_profile(result)
