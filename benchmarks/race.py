"""A race whose runs all train at once, each in a process and a lab of its own, where one run leaves a machine idle.

    python -m benchmarks.race shapes [--set minutes=5 turn_minutes=0.25] [--entrants dgpo flow_grpo]
    python -m benchmarks.race ablations --at-once 2  # a core each, where the budget is pictures, not minutes
    python -m benchmarks.race shapes --in-turns     # in one lab, as `python -m app race` does, on a small machine

All at once, first every learning rate of every entrant, then every seed at its entrant's best one. All share the
machine, and so its moods; minutes are longer than those of a race in turns, for all alike. A run that is over is not
run again, so a race that was cut short goes on. Kept as results/race-NAME.json; docs/race.md says how to read it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from app.__main__ import opened_store
from app.race.plan import Entrant, RacePlan, load_race, plan_of
from app.race.report import markdown, remarks, rows_of
from app.race.result import best_learning_rate, result_of
from app.settings import Settings
from app.store.rows import RacePoint, RaceRunRow, RunState
from benchmarks.record import keep
from dgpo_core.errors import ConfigError

SECONDS_BETWEEN_LOOKS = 0.2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def single(plan: RacePlan, entrant: Entrant, rate: float, seed: int, *, is_tuning: bool) -> dict[str, Any]:
    """The plan of one run of the race, as a race of its own; the target is that of the whole one."""
    minutes = plan.rules.tuning_minutes if is_tuning else plan.rules.minutes
    lone = replace(
        plan,
        rules=replace(plan.rules, minutes=minutes, against=entrant.name),
        entrants=(entrant,),
        seeds=(seed,),
        learning_rates=(rate,),
    )
    return lone.as_dict()


class LabRace:
    """A race in a process and a lab of its own, whose words go to a file beside the lab."""

    def __init__(self, name: str, plan: dict[str, Any], folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._race = self._folder / f"{name}.yaml"
        self._race.write_text(yaml.safe_dump(plan, sort_keys=False))
        self._lessons = [Path(place) for place in plan.get("prepare", {})]

    @property
    def lacks_groups(self) -> bool:
        """Whether its first act will be to have the base draw the groups that it learns from."""
        return not all(place.exists() for place in self._lessons)

    def start(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """The process, with these words in its environment."""
        command = [sys.executable, "-m", "app", "race", str(self._race), "--folder", str(self._folder / "lab")]
        with (self._folder / "said.txt").open("ab") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | settings)

    @property
    def is_over(self) -> bool:
        return bool(self.rows(only_ended=True))

    def rows(self, *, only_ended: bool = False) -> list[RaceRunRow]:
        """What its lab knows of its runs; nothing where they failed before the first step."""
        settings = Settings(folder=self._folder / "lab")
        if not settings.database.exists():
            return []
        with opened_store(settings) as (reader, _):
            races = [race for race in reader.races() if race.ended is not None or not only_ended]
            return reader.race_runs(races[0].id) if races else []


class LoneRun(LabRace):
    """One run of a race, as a race in a lab of its own."""

    def __init__(
        self, plan: RacePlan, entrant: Entrant, rate: float, seed: int, work: Path, *, is_tuning: bool
    ) -> None:
        self._is_tuning = is_tuning
        folder = work / f"{entrant.name}-{rate:g}-seed-{seed}{'-tuning' if is_tuning else ''}"
        super().__init__(plan.name, single(plan, entrant, rate, seed, is_tuning=is_tuning), folder)

    def rows(self, *, only_ended: bool = False) -> list[RaceRunRow]:
        return [replace(row, is_tuning=self._is_tuning) for row in super().rows(only_ended=only_ended)]


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
    return [row for run in runs for row in run.rows()]


def raced_in_turns(plan: RacePlan, work: Path) -> list[RaceRunRow]:
    """All runs of the race, in one lab that takes them in turns."""
    race = LabRace(plan.name, plan.as_dict(), work)
    if not race.is_over:
        race.start({}).wait()
    return race.rows()


def raced(plan: RacePlan, work: Path, limit: int = 0) -> list[RaceRunRow]:
    """All runs of the race, tuning first, no more than limit at a time if it is not 0."""
    tuned: list[RaceRunRow] = []
    if len(plan.learning_rates) > 1:
        seed = plan.rules.tuning_seed
        tuned = all_at_once(
            [
                LoneRun(plan, entrant, rate, seed, work, is_tuning=True)
                for entrant in plan.entrants
                for rate in plan.learning_rates
            ],
            limit,
        )
    rates = {entrant: best_learning_rate(plan, entrant.name, tuned) for entrant in plan.entrants}
    racing = [
        LoneRun(plan, entrant, rate, seed, work, is_tuning=False)
        for seed in plan.seeds
        for entrant, rate in rates.items()
        if rate is not None
    ]
    return tuned + all_at_once(racing, limit)


def rows_from(kept_runs: Sequence[dict[str, Any]]) -> list[RaceRunRow]:
    """The runs of a kept result, as the store would give them."""
    return [
        RaceRunRow(
            **{key: value for key, value in run.items() if key not in ("points", "state")},
            state=RunState(run["state"]),
            points=tuple(
                RacePoint(**point | {"quality": tuple((name, value) for name, value in point["quality"])})
                for point in run["points"]
            ),
        )
        for run in kept_runs
    ]


def changed(plan: RacePlan, changes: Sequence[str], entrants: Sequence[str] = ()) -> RacePlan:
    """The plan with some of its rules changed, read as in YAML, and with these of its entrants alone."""
    given = {name: yaml.safe_load(value) for name, _, value in (change.partition("=") for change in changes)}
    values = plan.as_dict() | given
    if unknown := set(entrants) - set(values["entrants"]):
        known = ", ".join(values["entrants"])
        raise ConfigError(f"{plan.name} has no entrant {', '.join(sorted(unknown))}. Its entrants: {known}.")
    if entrants:
        values["entrants"] = {name: values["entrants"][name] for name in entrants}
    return plan_of(values, plan.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", help="name of a race in assets/races, or a YAML file")
    parser.add_argument("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--entrants", nargs="+", default=[], metavar="NAME", help="these alone; else all of the plan")
    parser.add_argument("--in-turns", action="store_true", help="one run after the other in turns, in one lab")
    parser.add_argument("--at-once", type=int, default=0, metavar="N", help="so many runs at a time; else all")
    parser.add_argument("--label", default="", help="name of the result, if not that of the race")
    parser.add_argument("--work", type=Path, default=Path("work/race"))
    arguments = parser.parse_args()
    race_plan = changed(load_race(arguments.race), arguments.set, arguments.entrants)
    race_label = arguments.label or race_plan.name
    race_work = arguments.work / (f"{race_label}-in-turns" if arguments.in_turns else race_label)
    if arguments.in_turns:
        race_runs = raced_in_turns(race_plan, race_work)
    else:
        race_runs = raced(race_plan, race_work, arguments.at_once)
    keep(
        f"race-{race_label}",
        {"name": race_plan.name, "plan": race_plan.as_dict(), "runs": [asdict(run) for run in race_runs]},
    )
    race_result = result_of(race_plan, race_runs)
    print("\n".join([markdown(rows_of(race_result)), *remarks(race_plan, race_result)]))
