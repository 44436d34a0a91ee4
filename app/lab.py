"""What the page is handed: settings, a reader of the store, and the things it may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import Said, TrialWish
from dgpo_core.config import RunConfig
from dgpo_core.events import Command, Drawing

EXPORT_LAYOUTS = {
    "groups": "JSONL, to learn from",
    "csv": "CSV, for a spreadsheet",
    "imagefolder": "image folder of the library datasets",
    "pairs": "pairs, for Diffusion-DPO",
    "parquet": "Parquet, pictures inside",
    "dpo": "Parquet of pairs, as Diffusion-DPO's scripts read them",
}
"""How groups and labels may be laid out when they leave the lab, in words; app/exchange/ writes and reads each."""


class Saving(Protocol):
    """Models on their way out of the lab, one at a time, beside whatever else goes on."""

    def start(self, run_id: int, step: int | None, as_lora: bool) -> None:
        """Begin to save the model of a run's checkpoint (None: the newest) below the lab's folder; may be refused."""
        ...

    def words(self) -> str:
        """How the saving that was begun here stands; empty where none was."""
        ...


class Actions(Protocol):
    """Everything a person may ask of the lab; each raises LabError with a sentence for the page."""

    @property
    def saving(self) -> Saving:
        """What takes trained models out of the lab."""
        ...

    def start(self, config: RunConfig) -> int:
        """Begin a run and return its id; refused while another run is live."""
        ...

    def resume(self, run_id: int) -> int:
        """Go on with a run that ended or lost its process, and return its id."""
        ...

    def send(self, run_id: int, command: Command) -> None:
        """Hand a command to a live run."""
        ...

    def request_comparison(
        self, run_id: int, step: int | None, num_prompts: int, seed: int, *, drawing: Drawing | None = None
    ) -> int:
        """Ask for a before/after comparison and return its id."""
        ...

    def start_race(self, name: str) -> None:
        """Begin a race, shipped or a file by its path, or go on with it; refused while a race or a run is live."""
        ...

    def stop_race(self) -> None:
        """End the race that was begun here, once its run is saved."""
        ...

    def race_words(self) -> str:
        """How the race that was begun here stands; empty where none was."""
        ...

    def try_reward(self, wish: TrialWish) -> int:
        """Have a reward judge pictures, beside whatever else goes on, and return the trial's id."""
        ...

    def memory_in_words(self, config: RunConfig) -> str:
        """What memory a run would take, as far as is known without fetching anything; it may take seconds.

        config holds no more than that depends on (MEMORY_SETTINGS), so that nothing is reckoned twice.
        """
        ...

    def trouble(self) -> str:
        """What keeps the lab from working now, such as a full disk; empty when nothing does."""
        ...

    def lease_next(self, rater: str) -> int | None:
        """The group that a person is to judge next, theirs for two minutes; None where none is open."""
        ...

    def put_label(self, said: Said) -> int:
        """Store what a person said of a group, once, however often it is sent; durable when this returns."""
        ...

    def take_back(self, rater: str, request: str) -> int | None:
        """Undo a person's newest label of an open group and return that group; None where there is none."""
        ...

    def export_groups(self, run_id: int | None, layout: str, folder: Path) -> Path:
        """Write a run's groups and labels (None: those of all runs) as one new file in a folder, and return it."""
        ...

    def import_groups(self, file: Path, name: str) -> str:
        """Take in the groups and labels of a file as a run of that name, all or none; what came, in words."""
        ...

    def set_notes(self, run_id: int, text: str) -> None: ...

    def rename(self, run_id: int, name: str) -> None: ...

    def delete(self, run_id: int) -> None:
        """Remove a run and all it owns; refused while it is live."""
        ...


@dataclass(frozen=True, slots=True)
class Lab:
    """The page's only handle."""

    settings: Settings
    reader: Reader
    actions: Actions
