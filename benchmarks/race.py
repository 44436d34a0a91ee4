"""A race whose runs all train at once, each in a process and a lab of its own, where one run leaves a machine idle.

    python -m benchmarks.race shapes [--entrants dgpo flow_grpo] [--set minutes=5 turn_minutes=0.25 --label quick]
    python -m benchmarks.race ablations --at-once 2  # a core each, where the budget is pictures, not minutes
    python -m benchmarks.race shapes --in-turns     # in one lab, as `python -m app race` does, on a small machine

All at once, first every learning rate of every entrant, then every seed at its entrant's best one. All share the
machine, and so its moods; minutes are longer than those of a race in turns, for all alike. A run that is over is not
run again, so a race that was cut short goes on; nor is one that the kept result already has, if the race has a budget
of pictures, so entrants and seeds may come later. Kept as results/race-NAME.json, where NAME is --label if that is
given, and never in place of a race of another plan; docs/race.md says how to read it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.race.plan import RacePlan, checked_plan, load_race, plan_of
from app.race.report import markdown, remarks, rows_of
from app.race.result import best_learning_rate, result_of
from app.recipes import load_recipe, parse_value
from app.store.rows import RaceRunRow
from benchmarks.lone_run import LabRace, LoneRun, check_same_plan, known_runs, prompts_hash
from benchmarks.record import keep, kept
from dgpo_core.config import to_dict
from dgpo_core.errors import ConfigError, LabError

SECONDS_BETWEEN_LOOKS = 0.2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def all_at_once(runs: Sequence[LoneRun], limit: int = 0) -> list[RaceRunRow]:
    """Trains those that are not over, waits for them, and returns what is known of all.

    Who has groups drawn goes first, and nobody begins before they are there: others may learn from the same. No more
    than limit train at a time, if it is not 0.
    """
    processes: list[subprocess.Popen[bytes]] = []
    for run in sorted((run for run in runs if not run.is_over), key=lambda run: not run.lacks_groups):
        while limit and sum(process.poll() is None for process in processes) >= limit:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        processes.append(run.start(ONE_THREAD))
        while run.lacks_groups and processes[-1].poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    for process in processes:
        process.wait()
    return rows_of_all(runs)


def raced_in_turns(plan: RacePlan, work: Path) -> list[RaceRunRow]:
    """All runs of the race, in one lab that takes them in turns."""
    race = LabRace(plan.name, plan.as_dict(), work)
    if not race.is_over:
        race.start({}).wait()
    return rows_of_all([race])


def rows_of_all(races: Sequence[LabRace]) -> list[RaceRunRow]:
    """What their labs know of all runs.

    Raises:
        SystemExit: some of them are not over, such as one whose process was killed; nothing is to be made of these.
    """
    cut = [race for race in races if not race.is_over]
    if cut:
        words = "; ".join(f"{race.folder}: {race.last_words}" for race in cut)
        raise SystemExit(f"{len(cut)} of {len(races)} runs are not over: {words} The same command goes on with them.")
    return [row for race in races for row in race.rows()]


def raced(plan: RacePlan, work: Path, limit: int = 0, known: Sequence[RaceRunRow] = ()) -> list[RaceRunRow]:
    """All runs of the race, tuning first, no more than limit at a time if it is not 0; the known ones as they are."""
    tuned: list[RaceRunRow] = []
    if len(plan.learning_rates) > 1:
        seed = plan.rules.tuning_seed
        tuned = all_at_once(
            [
                LoneRun(plan, entrant, rate, seed, work, is_tuning=True, known=known)
                for entrant in plan.entrants
                for rate in plan.learning_rates
            ],
            limit,
        )
    rates = {entrant: best_learning_rate(plan, entrant.name, tuned) for entrant in plan.entrants}
    racing = [
        LoneRun(plan, entrant, rate, seed, work, is_tuning=False, known=known)
        for seed in plan.seeds
        for entrant, rate in rates.items()
        if rate is not None
    ]
    return tuned + all_at_once(racing, limit)


def changed(plan: RacePlan, changes: Sequence[str], entrants: Sequence[str] = ()) -> RacePlan:
    """The plan with some of its rules changed, read as in YAML, and with these of its entrants alone.

    Raises:
        ConfigError: a change cannot be read, there is no such entrant, or the plan that comes of it cannot be run.
    """
    given = dict(_change(text) for text in changes)
    values = plan.as_dict()
    if plan.is_rate_the_recipes:
        del values["learning_rates"]  # another recipe has a rate of its own
    values |= given
    known = [entrant.name for entrant in plan_of(values, plan.name).entrants]
    if unknown := set(entrants) - set(known):
        raise ConfigError(f"{plan.name} has no entrant {', '.join(sorted(unknown))}. Its entrants: {', '.join(known)}.")
    if entrants:
        values["entrants"] = {name: values["entrants"][name] for name in entrants}
    result = plan_of(values, plan.name)
    checked_plan(result.as_dict(), plan.name)  # as it will be run: without what is prepared for those left out
    return result


def _change(text: str) -> tuple[str, Any]:
    name, is_one, value = text.partition("=")
    if not is_one:
        raise ConfigError(f"--set takes a rule of the race with its value, got {text[:80]!r}. For example: minutes=5.")
    return name, parse_value(value, name[:80])


def race_and_keep(options: argparse.Namespace) -> None:
    """Runs the race of the command line, keeps what came of it, and prints it.

    Raises:
        LabError: it cannot be run as it was asked for, or its result would take the place of another race's.
    """
    plan = changed(load_race(options.race), options.set, options.entrants)
    label, recipe = options.label or plan.name, load_recipe(plan.rules.recipe)
    result, prompts = kept(f"race-{label}"), prompts_hash(recipe)  # read now: the files may be others hours later
    check_same_plan(plan, result, label)
    if options.in_turns:
        runs = raced_in_turns(plan, options.work / f"{label}-in-turns")
    else:
        runs = raced(plan, options.work / label, options.at_once, known_runs(plan, result))
    keep(
        f"race-{label}",
        {
            "name": plan.name,
            "plan": plan.as_dict(),
            "recipe": to_dict(recipe),
            "prompts": prompts,
            "runs": [asdict(run) for run in runs],
        },
    )
    standings = result_of(plan, runs)
    print("\n".join([markdown(rows_of(standings)), *remarks(plan, standings)]))


def main(words: Sequence[str] | None = None) -> int:
    """The command; 2 where it could not be done, with why on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", help="name of a race in assets/races, or a YAML file")
    parser.add_argument("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--entrants", nargs="+", default=[], metavar="NAME", help="these alone; else all of the plan")
    parser.add_argument("--in-turns", action="store_true", help="one run after the other in turns, in one lab")
    parser.add_argument("--at-once", type=int, default=0, metavar="N", help="so many runs at a time; else all")
    parser.add_argument("--label", default="", help="name of the result, if not that of the race")
    parser.add_argument("--work", type=Path, default=Path("work/race"))
    try:
        race_and_keep(parser.parse_args(words))
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
