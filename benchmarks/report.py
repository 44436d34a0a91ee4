"""Writes the tables of docs/results.md from benchmarks/results.

python -m benchmarks.report
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks.record import kept

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
NOT_YET = "Not measured yet.\n"
Rows = list[list[str]]


def table(head: list[str], rows: Rows) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def origin(result: dict[str, Any]) -> str:
    """The line below a table: how it was made."""
    return f"\n`{result['command']}`, commit {result['commit']}, {result['made']}, {result['machine']}.\n"


def verifier(result: dict[str, Any]) -> str:
    """Accepted shares per category."""
    rows = [
        [category, f"{row['pictures']}", f"{row['accepted_true']:.2%}", f"{row['accepted_wrong']:.2%}"]
        for category, row in result["by_category"].items()
    ]
    return table(["category", "pictures", "accepted when true", "accepted when one thing is wrong"], rows)


def spread(value: dict[str, float]) -> str:
    """Mean and standard deviation."""
    return f"{value['mean']:.3f} ± {value['std']:.3f}"


def base_profile(result: dict[str, Any]) -> str:
    """Scores beside SD3.5-M's, and quality."""
    paper = result["sd35_medium"] | {"overall": 0.63}
    scores = [[name, spread(value), f"{paper[name]:.2f}"] for name, value in result["scores"].items()]
    quality = [[name, spread(value)] for name, value in result["quality"].items()]
    return table(["category", "base", "SD3.5-M (paper)"], scores) + "\n" + table(["quality", "base"], quality)


def learning(result: dict[str, Any]) -> str:
    """Overall score, hardest category and quality at every mark, mean and spread over the runs' seeds."""
    runs = result["runs"].values()
    marks = sorted({mark for run in runs for mark in run if mark != "base"}, key=float)
    rows = []
    for mark in ["base", *marks]:
        done = [run[mark] for run in runs if mark in run]
        worst = [min((one["mean"], name) for name, one in run["scores"].items()) for run in done]
        rows.append(
            [
                "base" if mark == "base" else f"{mark} min",
                over_runs([run["scores"]["overall"]["mean"] for run in done]),
                ", ".join(f"{score:.2f} ({name})" for score, name in worst),
                over_runs([run["quality"]["clean things"]["mean"] for run in done]),
                over_runs([run["quality"]["Frechet distance"]["mean"] for run in done]),
                ", ".join(str(run.get("steps", 0)) for run in done),
            ]
        )
    head = ["after", "held-out strict score", "worst category per seed", "clean things", "Frechet distance", "steps"]
    return table(head, rows)


def over_runs(values: list[float]) -> str:
    """Mean and standard deviation over runs, and how many they were."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.3f} ± {deviation:.3f} (n={len(values)})"


def step(result: dict[str, Any]) -> str:
    """Step time and overhead."""
    rows = [
        ["pictures per step", f"{result['pictures_per_step']}"],
        ["seconds per step, median", f"{result['step_seconds']:.2f}"],
        ["overhead, share of a step", f"{result['overhead_fraction']:.1%}"],
        [f"slowdown with {result['pages']} open pages", f"{result['slowdown_by_pages']:+.1%}"],
    ]
    return table(["what", "measured"], rows)


def page(result: dict[str, Any]) -> str:
    """How soon the page is there, and how soon a step is seen."""
    rows = [
        [what, f"{median(result[key]):.2f}", f"{max(result[key]):.2f}", f"{len(result[key])}"]
        for what, key in (("page asked for to groups on screen", "ready_seconds"), ("commit to sight", "seen_seconds"))
    ]
    return table(["seconds from", "median", "worst", "times"], rows)


def label_page(result: dict[str, Any]) -> str:
    """How soon the next group is there, and how long a ranking takes without thinking."""
    rows = [
        [what, f"{median(result[key]):.3f}", f"{max(result[key]):.3f}", f"{len(result[key])}"]
        for what, key in (
            ("key to next group, looked at for half a second", "key_seconds"),
            ("key to next group, without a look", "key_seconds_at_once"),
            ("ranking 8 by keys as fast as they are taken", "ranking_seconds"),
        )
    ]
    return table(["seconds for", "median", "worst", "times"], rows)


def label_storm(result: dict[str, Any]) -> str:
    """What became of the labels of many people at once."""
    rows = [
        [what, f"{result[key]}"]
        for what, key in (
            ("people at once", "clients"),
            ("times killed with SIGKILL", "kills"),
            ("calls whose connection broke", "broken"),
            ("labels given", "sent"),
            ("labels the lab answered for", "acknowledged"),
            ("labels stored", "stored"),
            ("answered for and lost", "lost"),
            ("doubled", "doubled"),
        )
    ]
    rows.append(["seconds to an answer, median, retries included", f"{median(result['answer_seconds']):.2f}"])
    rows.append(["minutes", f"{result['minutes']:.1f}"])
    return table(["what", "counted"], rows)


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "verifier": ("verifier", verifier),
    "base_profile": ("base_profile", base_profile),
    "learning": ("learning-shapes", learning),
    "step": ("step", step),
    "page": ("page", page),
    "label_page": ("label_page", label_page),
    "label_storm": ("label_storm", label_storm),
}


def filled(text: str) -> str:
    """The text of docs/results.md with every section's table renewed."""
    for mark, (name, write) in SECTIONS.items():
        result = kept(name)
        found = write(result) + origin(result) if result else NOT_YET
        before, start, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"docs/results.md needs a section {mark}"
        text = before + start + found + end + after
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
