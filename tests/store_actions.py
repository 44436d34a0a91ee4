"""The lab's actions for tests of the page: what can be written is written by the real Writer, nothing is trained."""

from __future__ import annotations

from pathlib import Path

from app.exchange.export import export_file
from app.exchange.importing import import_groups, in_words
from app.store.reader import Reader
from app.store.rows import Said, TrialWish
from app.store.writer import Writer
from dgpo_core.config import RunConfig, to_dict
from dgpo_core.events import Command, Drawing


class RememberedSaving:
    """What was asked to be saved; nothing is."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int | None, bool]] = []

    def start(self, run_id: int, step: int | None, as_lora: bool) -> None:
        self.asked.append((run_id, step, as_lora))

    def words(self) -> str:
        return f"Run {self.asked[-1][0]} is being saved." if self.asked else ""


class StoreActions:
    """The lab's actions without a trainer: what can be written is written, every call is remembered."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.reader: Reader | None = None
        self.sent: list[tuple[int, Command]] = []
        self.started: list[RunConfig] = []
        self.resumed: list[int] = []
        self.raced: list[str] = []
        self.troubled = ""
        self.saving = RememberedSaving()

    def start_race(self, name: str) -> None:
        self.raced.append(name)

    def stop_race(self) -> None:
        self.raced.append("")

    def race_words(self) -> str:
        return f"The race {self.raced[-1]} is on." if self.raced and self.raced[-1] else ""

    def memory_in_words(self, config: RunConfig) -> str:
        return ""

    def trouble(self) -> str:
        return self.troubled

    def start(self, config: RunConfig) -> int:
        self.started.append(config)
        return self.writer.create_run(to_dict(config), config.schedule.num_steps)

    def resume(self, run_id: int) -> int:
        self.writer.resume_run(run_id)
        self.resumed.append(run_id)
        return run_id

    def send(self, run_id: int, command: Command) -> None:
        self.writer.send(run_id, command)
        self.sent.append((run_id, command))

    def request_comparison(
        self, run_id: int, step: int | None, num_prompts: int, seed: int, *, drawing: Drawing | None = None
    ) -> int:
        return self.writer.request_comparison(run_id, step, num_prompts, seed, drawing=drawing)

    def try_reward(self, wish: TrialWish) -> int:
        return self.writer.request_trial(wish, wish.files)

    def lease_next(self, rater: str) -> int | None:
        return self.writer.lease_next(rater)

    def put_label(self, said: Said) -> int:
        return self.writer.put_label(said)

    def take_back(self, rater: str, request: str) -> int | None:
        return self.writer.take_back(rater, request)

    def export_groups(self, run_id: int | None, layout: str, folder: Path) -> Path:
        assert self.reader is not None, "the test hands over no reader"
        return export_file(self.reader, run_id, layout, folder)

    def import_groups(self, file: Path, name: str) -> str:
        return in_words(*import_groups(self.writer, file, name))

    def set_notes(self, run_id: int, text: str) -> None:
        self.writer.set_notes(run_id, text)

    def rename(self, run_id: int, name: str) -> None:
        self.writer.rename(run_id, name)

    def delete(self, run_id: int) -> None:
        self.writer.delete_run(run_id)
