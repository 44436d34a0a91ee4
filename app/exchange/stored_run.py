"""Groups of a run of this lab to learn from: rollout.stored_groups = run:7."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from app.exchange.collected import groups_of
from app.exchange.export import export_groups
from app.exchange.known_run import known_run, without_groups
from app.settings import UNFINISHED
from app.store.reader import Reader
from dgpo_core.config import RunConfig

FOLDER_NAME = "stored_groups"
OF_A_RUN = re.compile(r"run:(\d{1,18})", re.ASCII)


def check_named_run(config: RunConfig, reader: Reader) -> None:
    """Raises ExchangeError where rollout.stored_groups names a run that this lab has not, or that has no groups."""
    named = OF_A_RUN.fullmatch(config.rollout.stored_groups)
    if named is None:
        return
    run_id = known_run(reader, int(named[1])).id
    if next(groups_of(reader, run_id), None) is None:
        raise without_groups(run_id)


def with_groups_at_hand(config: RunConfig, reader: Reader, run_folder: Path) -> RunConfig:
    """The settings, with a folder of groups for rollout.stored_groups where that names a run of this lab.

    The groups are written into run_folder the first time, and stay as they were then: whether the run is resumed or
    compared, and whatever becomes of the run that they are of. Other settings come back as they are.

    Raises:
        ExchangeError: there is no such run, it has no groups, or they cannot be written.
    """
    named = OF_A_RUN.fullmatch(config.rollout.stored_groups)
    if named is None:
        return config
    folder = run_folder.absolute() / FOLDER_NAME
    if not folder.exists():
        # Nobody else writes here, so what is half written is of a lab that was killed.
        shutil.rmtree(folder.with_name(f"{FOLDER_NAME}{UNFINISHED}"), ignore_errors=True)
        export_groups(reader, int(named[1]), folder)
    return replace(config, rollout=replace(config.rollout, stored_groups=str(folder)))
