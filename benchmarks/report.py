"""Writes the tables of docs/results.md from benchmarks/results.

python -m benchmarks.report
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isclose
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from app.race.plan import plan_of
from app.race.report import CAPTION, markdown, quality_rows, remarks, rows_of, tuning_rows
from app.race.result import result_of
from benchmarks.ablation_table import HEAD, ablation_rows
from benchmarks.lone_run import rows_from
from benchmarks.record import kept

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
PHASES = ("sampling", "decoding", "updating")
NOT_YET = "Not measured yet.\n"
MEASURED_ONCE = (
    "\nThe base was examined once, for all seeds: its ± is over the seeds of the examination, the others' over runs.\n"
)
SAME_BASE = 1e-5
"""Share by which numbers of one base differ at most where its pictures were drawn in other batches."""
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


def spread(value: dict[str, Any]) -> str:
    """Mean and standard deviation; the mean alone where no deviation was kept, or it is that of one value."""
    is_single = "std" not in value or len(value.get("by_seed", ())) == 1
    return f"{value['mean']:.3f}" if is_single else f"{value['mean']:.3f} ± {value['std']:.3f}"


def base_profile(result: dict[str, Any]) -> str:
    """Scores beside SD3.5-M's, and quality."""
    paper = result["sd35_medium"] | {"overall": 0.63}
    scores = [[name, spread(value), f"{paper[name]:.2f}"] for name, value in result["scores"].items()]
    quality = [[name, spread(value)] for name, value in result["quality"].items()]
    clean = result["quality"]["clean things"].get("by_seed", [])  # which older measurements did not keep
    said = f"\nClean things, seed by seed: {', '.join(f'{value:.4f}' for value in clean)}.\n" if clean else ""
    return table(["category", "base", "SD3.5-M (paper)"], scores) + "\n" + table(["quality", "base"], quality) + said


def learning(result: dict[str, Any]) -> str:
    """Overall score and hardest category at every mark, then quality, mean and spread over the runs' seeds.

    The base, measured once for all seeds, has the spread over the seeds of its examination.
    """
    runs = result["runs"].values()
    marks = sorted({mark for run in runs for mark in run if mark != "base"}, key=float)
    rows, quality, said = [], [], ""
    for mark in ["base", *marks]:
        after = "base" if mark == "base" else f"{mark} min"
        done = [run[mark] for run in runs if mark in run]
        is_copied = mark == "base" and all(run == done[0] for run in done)
        told = spread_over_runs
        if is_copied:
            done, told, said = done[:1], spread_of_one, MEASURED_ONCE
        worst = [min((one["mean"], name) for name, one in run["scores"].items()) for run in done]
        rows.append(
            [
                after,
                told([run["scores"]["overall"] for run in done]),
                ", ".join(f"{score:.2f} ({name})" for score, name in worst),
                ", ".join(str(run.get("steps", 0)) for run in done),
            ]
        )
        names = list(done[0]["quality"])
        quality.append([after, *(told([run["quality"][name] for run in done]) for name in names)])
    head = ["after", "held-out strict score", "worst category per seed", "steps"]
    return table(head, rows) + "\n" + table(["after", *names], quality) + said


def spread_of_one(examined: Sequence[dict[str, Any]]) -> str:
    """What a single examination found, and how far its own seeds differ."""
    return spread(examined[0])


def spread_over_runs(examined: Sequence[dict[str, Any]]) -> str:
    """What the examinations of several runs found on average, and how far the runs differ."""
    return over_runs([one["mean"] for one in examined])


def over_runs(values: Sequence[float]) -> str:
    """Mean over runs, how many they were and, where there are several, their standard deviation."""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation} (n={len(values)})"


def of_the_base(values: Sequence[float]) -> str:
    """What every seed found in one and the same base: a single value, unless they were different bases."""
    is_same = all(isclose(value, values[0], rel_tol=SAME_BASE) for value in values)
    return f"{values[0]:.3f}" if is_same else over_runs(values)


def step(result: dict[str, Any]) -> str:
    """Step time and overhead."""
    rows = [
        ["pictures per step", f"{result['pictures_per_step']}"],
        ["seconds per step, median", f"{result['step_seconds']:.2f}"],
        ["overhead, share of a step", f"{result['overhead_fraction']:.1%}"],
        [f"slowdown with {result['pages']} open pages", f"{result['slowdown_by_pages']:+.1%}"],
    ]
    if "standard_error" in result:
        rows[-1][1] += f" ± {result['standard_error']:.1%} (standard error)"
    if "step_seconds_by_seed" in result:  # older measurements had one seed
        each = ", ".join(f"{seconds:.2f}" for seconds in result["step_seconds_by_seed"])
        rows.insert(2, ["the same, each seed", each])
        rows.insert(3, ["nine steps of ten take less than", f"{result['step_seconds_of_ten_nine_below']:.2f}"])
    return table(["what", "measured"], rows)


def page_ticks(result: dict[str, Any]) -> str:
    """CPU time that the lab spends on a page that polls, by what was written since it last asked."""
    words = {"nothing": "nothing", "phase": "a phase of the run", "step": "a step of 6 groups of 16"}
    rows = [
        [words[kind], f"{median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}"]
        for kind, times in result["milliseconds"].items()
    ]
    return table(["since the page last asked came", "CPU milliseconds, median", "range"], rows)


def page(result: dict[str, Any]) -> str:
    """How soon the page is there, and how soon a step is seen."""
    rows = [
        [what, f"{median(result[key]):.2f}", f"{max(result[key]):.2f}", f"{len(result[key])}"]
        for what, key in (
            ("first page of a lab asked for to groups on screen", "first_seconds"),
            ("a later page asked for to groups on screen", "ready_seconds"),
            ("commit to sight", "seen_seconds"),
        )
    ]
    return table(["seconds from", "median", "worst", "times"], rows)


def people_steer(result: dict[str, Any]) -> str:
    """Size of things and strict score before, which is one base's, and after, mean and spread over seeds."""
    runs = list(result["runs"].values())
    rows = [
        ["labelled groups", over_runs([run["labels"] for run in runs])],
        ["steps", over_runs([run["steps"] for run in runs])],
        ["area of a thing, before", of_the_base([run["before"]["area"] for run in runs])],
        ["area of a thing, after", over_runs([run["after"]["area"] for run in runs])],
        ["moved, in standard deviations of the base's pictures", over_runs([run["moved"] for run in runs])],
        ["the same, each seed", ", ".join(f"{run['moved']:+.2f}" for run in runs)],
        ["strict score lost", over_runs([run["lost"] for run in runs])],
        ["the same, each seed", ", ".join(f"{run['lost']:+.3f}" for run in runs)],
        ["clean things, before", of_the_base([run["before"]["clean things"] for run in runs])],
        ["clean things, after", over_runs([run["after"]["clean things"] for run in runs])],
    ]
    return table(["what", "measured"], rows)


def label_saving(result: dict[str, Any]) -> str:
    """Labels needed for the same held-out accuracy, picked against random, and how far seeds differ in it."""
    rows = [
        [
            taste,
            f"{one['accuracy']:.3f}",
            f"{one['random']}",
            f"{one['picked']:.1f}",
            f"{one['saved']:.0%}",
            "{:.0%} to {:.0%}".format(*one["interval"]),
        ]
        for taste, compared in result["savings"].items()
        for one in compared
    ]
    head = ["taste", "held-out pair accuracy", "labels, random", "labels, picked", "saved", "90% of resampled seeds"]
    return table(head, rows)


def label_page(result: dict[str, Any]) -> str:
    """How soon the next group is there, and how long a ranking takes without thinking."""
    rows = [
        [what, f"{median(result[key]):.3f}", f"{max(result[key]):.3f}", f"{len(result[key])}"]
        for what, key in (
            ("key to next group, looked at for half a second", "key_seconds"),
            ("key to next group, without a look", "key_seconds_at_once"),
            ("ranking 8 by keys as fast as they are taken", "ranking_seconds"),
            ("512 pixels: key to next group, looked at for half a second", "large_key_seconds"),
            ("512 pixels: key to next group, without a look", "large_key_seconds_at_once"),
            ("512 pixels: ranking 8 by keys as fast as they are taken", "large_ranking_seconds"),
        )
        if key in result  # older measurements had small pictures alone
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
            ("calls that a client cut before the answer", "cut"),
            ("calls that broke off or were refused while the lab was killed and starting", "refused"),
            ("labels given", "sent"),
            ("labels the lab answered for", "acknowledged"),
            ("labels stored", "stored"),
            ("answered for and lost", "lost"),
            ("answered for and stored otherwise than said", "altered"),
            ("doubled", "doubled"),
        )
        if key in result  # older measurements counted all broken calls as one, and did not compare what was said
    ]
    rows.append(["seconds to an answer, median, retries included", f"{median(result['answer_seconds']):.2f}"])
    rows.append(["minutes", f"{result['minutes']:.1f}"])
    return table(["what", "counted"], rows)


def memory(result: dict[str, Any]) -> str:
    """What a step of Stable Diffusion 3.5 Medium took on a card, beside what the lab foretells."""
    taken, seconds = result["taken"], result["seconds"]
    parts = [[name.replace("_", " "), gigabytes(value)] for name, value in result["expected"].items()]
    rows = [
        ["the most in the run, foretold", f"{gigabytes(result['expected_peak'])} GB"],
        ["the most in the run, taken by tensors", f"{gigabytes(taken['allocated'])} GB"],
        ["the same with what torch holds back", f"{gigabytes(taken['reserved'])} GB"],
        ["foretold too much", f"{result['error']:+.1%}"],
        ["seconds per step", f"{seconds['step']:.1f}"],
        ["of these drawing, decoding, updating", ", ".join(f"{seconds[name]:.1f}" for name in PHASES)],
    ]
    about = (
        f"\n{result['numbers'] / 1e9:.2f} billion random weights, recipe *{result['recipe']}*, "
        f"{result['pictures_per_step']} pictures of {result['picture_side']} pixels per step, {result['micro_batch']} "
        f"at once, on one {result['card']}.\n"
    )
    said = "".join(f"\n{words}\n" for words in dict.fromkeys(result["warnings"]))
    return table(["what", "measured"], rows) + "\n" + table(["part, foretold", "GB"], parts) + about + said


def race(result: dict[str, Any]) -> str:
    """Standings, what was said of them, quality at the end, and the grid of learning rates."""
    plan, runs = plan_of(result["plan"], result["name"]), rows_from(result["runs"])
    found = result_of(plan, runs)
    tables = [markdown(rows) for rows in (rows_of(found), quality_rows(found), tuning_rows(found)) if len(rows) > 1]
    said = [f"{CAPTION}.", *remarks(plan, found)]
    return "\n\n".join([tables[0], *said, *tables[1:]]) + "\n"


def ablations(result: dict[str, Any]) -> str:
    """Every change's end beside the recipe's."""
    return table(HEAD, ablation_rows(plan_of(result["plan"], result["name"]), rows_from(result["runs"])))


def gigabytes(value: float) -> str:
    """Bytes in gigabytes."""
    return f"{value / 1e9:.2f}"


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "verifier": ("verifier", verifier),
    "base_profile": ("base_profile", base_profile),
    "learning": ("learning-shapes", learning),
    "learning-16-steps": ("learning-16-steps", learning),
    "people_steer": ("people_steer-people", people_steer),
    "model_steer": ("people_steer-model", people_steer),
    "label_saving": ("label_saving", label_saving),
    "step": ("step", step),
    "page_ticks": ("page_ticks", page_ticks),
    "page": ("page", page),
    "label_page": ("label_page", label_page),
    "label_storm": ("label_storm", label_storm),
    "memory": ("memory", memory),
    "memory-8bit": ("memory-8bit", memory),
    "memory-4bit": ("memory-4bit", memory),
    "race": ("race-shapes", race),
    "race-groups-of-8": ("race-groups-of-8", race),
    "race-published": ("race-published", race),
    "race-higher-rates": ("race-higher-rates", race),
    "race-card": ("race-card", race),
    "ablations": ("race-ablations", ablations),
}
WHEN_MEASURED = {
    "memory": (
        "\n## Memory\n\nGoal: the estimate before Start is within 15% of what a run takes, for a network of the size "
        "of Stable Diffusion 3.5 Medium at 512 pixels.\n\n<!-- memory -->\n<!-- end -->\n"
    ),
    "memory-8bit": "\n### With frozen weights in 8 bits\n\n<!-- memory-8bit -->\n<!-- end -->\n",
    "memory-4bit": "\n### With frozen weights in 4 bits\n\n<!-- memory-4bit -->\n<!-- end -->\n",
    "ablations": (
        "\n## Ablations\n\nQuestion: what does each part of DGPO do to the held-out score and to held-out quality? "
        "`assets/races/ablations.yaml` has the changes. A difference to the recipe is taken seed by seed, as each seed "
        "has prompts of its own: mean \u00b1 half of its 95% interval.\n\n"
        "<!-- ablations -->\n<!-- end -->\n"
    ),
}
"""Sections that the page gets once there is something to say: not every machine can measure them, or has the hours."""


def filled(text: str) -> str:
    """The text of docs/results.md with every section's table renewed."""
    for mark, (name, write) in SECTIONS.items():
        result = kept(name)
        if mark in WHEN_MEASURED and f"<!-- {mark} -->" not in text:
            if result is None:
                continue
            text += WHEN_MEASURED[mark]
        found = write(result) + origin(result) if result else NOT_YET
        before, start, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"docs/results.md needs a section {mark}"
        text = before + start + found + end + after
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
