"""python -m app opens the lab; python -m app train RECIPE does the same run without a browser."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.lab import EXPORT_LAYOUTS
from app.recipes import load_recipe, parse_value
from app.settings import Settings
from app.store.database import DamagedStoreError, open_for_writing, set_aside
from app.store.lock import LabLock
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict, with_setting
from dgpo_core.errors import ConfigError, LabError

if TYPE_CHECKING:
    from app.runner import Runner

MOST_DIGITS = 18
"""Of the number of a run; more are more than the store can hold."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when all went well, 2 for something a person must change."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings(folder=options.folder, host=options.host, port=options.port)
        settings.folder.mkdir(parents=True, exist_ok=True)
        if options.set_aside:
            set_damaged_store_aside(settings)
        return options.command(settings, options)
    except DamagedStoreError as error:
        print(f"{error} Add --set-aside to move it away and begin a new one.", file=sys.stderr)
        return 2
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"The lab cannot use {options.folder}: {error}. Choose another folder with --folder.", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    _add_lab_options(parser)
    parser.set_defaults(folder=Path("lab"), host="127.0.0.1", port=7860, set_aside=False, command=open_lab)
    commands = parser.add_subparsers(title="commands")
    train = commands.add_parser(
        "train",
        help="run a recipe without a browser; an open page shows it live",
        argument_default=argparse.SUPPRESS,  # what is not said after the command keeps what was said before it
    )
    train.add_argument("recipe", help="name of a recipe in assets/recipes, or a YAML file")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    _add_lab_options(train)
    train.set_defaults(command=train_headless)
    memory = commands.add_parser(
        "memory",
        help="say what memory a recipe will take, before anything is loaded",
        argument_default=argparse.SUPPRESS,
    )
    memory.add_argument("recipe", help="name of a recipe in assets/recipes, or a YAML file")
    memory.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    memory.set_defaults(command=tell_memory)
    export = commands.add_parser(
        "export",
        help="write a run's groups and labels as a folder with its pictures",
        argument_default=argparse.SUPPRESS,
    )
    export.add_argument("run", type=_run_or_all, help="number of the run, or all")
    export.add_argument("into", type=Path, help="folder to write, which must not be there yet")
    layouts = [*EXPORT_LAYOUTS]
    export.add_argument("--layout", choices=layouts, default="groups", help="how the folder is laid out (groups)")
    export.add_argument("--only", choices=["labelled"], default=None, help="groups that people judged alone (all)")
    _add_lab_options(export)
    export.set_defaults(command=export_run)
    _add_save(commands)
    _add_label(commands)
    taken = commands.add_parser(
        "import",
        help="take the groups and labels of a folder or a file into the lab; all, or none",
        argument_default=argparse.SUPPRESS,
    )
    taken.add_argument(
        "source",
        type=Path,
        help="folder in a layout of export, or with one of ranked pictures per prompt; as ZIP or Parquet file too",
    )
    taken.add_argument("--name", default=None, help="name of the run that they become (the folder's)")
    _add_lab_options(taken)
    taken.set_defaults(command=import_run)
    race = commands.add_parser(
        "race",
        help="run algorithms against each other from the same start; goes on where it was cut short",
        argument_default=argparse.SUPPRESS,
    )
    race.add_argument("race", help="name of a race in assets/races, or a YAML file")
    _add_lab_options(race)
    race.set_defaults(command=race_headless)
    return parser


def _add_save(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command that takes a trained model out of the lab."""
    save = commands.add_parser(
        "save",
        help="write a run's trained model as a folder for diffusers: whole, or its LoRA",
        argument_default=argparse.SUPPRESS,
    )
    save.add_argument("run", type=_run, help="number of the run")
    save.add_argument("into", type=Path, help="folder to write, which must not be there yet")
    save.add_argument("--step", type=int, default=None, help="step of the checkpoint (the newest)")
    save.add_argument("--lora", action="store_true", default=False, help="the LoRA alone, for load_lora_weights")
    _add_lab_options(save)
    save.set_defaults(command=save_run)


def _add_label(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command that has a simulated annotator label."""
    label = commands.add_parser(
        "label",
        help="have a simulated annotator label the groups of the live run until it ends, for trials and demonstrations",
        argument_default=argparse.SUPPRESS,
    )
    label.add_argument("--as", dest="taste", required=True, metavar="TASTE", help="what it likes: large or warm")
    label.add_argument("--noise", type=float, default=0.0, help="chance that neighbours in its ranking are swapped (0)")
    label.add_argument("--rater", default=None, metavar="NAME", help="name its labels stand under (simulated: TASTE)")
    _add_lab_options(label)
    label.set_defaults(command=label_simulated)


def _run_or_all(text: str) -> int | None:
    """The number of a run; None for all runs."""
    return None if text == "all" else _run(text, "its number, or all")


def _run(text: str, allowed: str = "its number") -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise argparse.ArgumentTypeError(f"a run is named by {allowed}, got {text[:40]!r}")
    return int(text)


def _add_lab_options(parser: argparse.ArgumentParser) -> None:
    """The options of the lab itself, which may stand before or after a command."""
    parser.add_argument("--folder", type=Path, help="where the lab keeps everything (lab)")
    parser.add_argument("--host", help="address of this machine to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (7860)")
    moved = "move a damaged store away and begin a new one"
    parser.add_argument("--set-aside", action="store_const", const=True, help=moved)


def set_damaged_store_aside(settings: Settings) -> None:
    """Moves the store away where it is damaged and nobody has it open; a sound one stays."""
    with LabLock(settings.folder, "lab"), LabLock(settings.folder, "training"):
        try:
            open_for_writing(settings.database).close()
        except DamagedStoreError:
            print(f"The damaged store was moved to {set_aside(settings.database)}. A new one begins.")


@contextmanager
def opened_store(settings: Settings) -> Iterator[tuple[Reader, Writer]]:
    """The store of a lab folder, made when it is new."""
    with Writer(settings.database) as writer:
        reader = Reader(settings.database)
        try:
            yield reader, writer
        finally:
            reader.close()


@contextmanager
def opened_runner(settings: Settings, reader: Reader, writer: Writer) -> Iterator[Runner]:
    """The runner of a lab folder, which says on the terminal what keeps a run waiting.

    At the end, also by SIGTERM, its run is stopped and saved.
    """
    from app.progress import say
    from app.runner import Runner
    from app.troubles import troubles_said

    runner = Runner(settings, reader, writer)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with troubles_said(runner.trouble, say):
        try:
            yield runner
        finally:
            runner.close()


def open_lab(settings: Settings, options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C; a run then stops at its next safe point and is saved."""
    from app.lab import Lab
    from app.ui.build import serve

    with LabLock(settings.folder, "lab"), opened_store(settings) as (reader, writer):
        writer.fail_lost_trials()
        with opened_runner(settings, reader, writer) as runner:
            try:
                with suppress(KeyboardInterrupt):  # Gradio takes Ctrl-C only once its page is up
                    serve(Lab(settings, reader, runner))
            finally:
                print("Closing the lab; a run is stopped and saved.")
    return 0


def configured(recipe: str, changes: Sequence[str]) -> RunConfig:
    """A recipe with KEY=VALUE changes, values read as YAML."""
    values = to_dict(load_recipe(recipe))
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set needs KEY=VALUE, got {change!r}. For example: --set schedule.num_steps=100.")
        values = with_setting(values, key.strip(), parse_value(text, key.strip()))
    return from_dict(values)


def train_headless(settings: Settings, options: argparse.Namespace) -> int:
    """Does a run in this process with a progress bar on the terminal."""
    from app.endings import end_in_words
    from app.progress import ProgressBar

    config = configured(options.recipe, options.set)
    with opened_store(settings) as (reader, writer), ProgressBar() as progress:
        with opened_runner(settings, reader, writer) as runner:
            run_id = runner.start(config, on_event=progress.show)
            with suppress(KeyboardInterrupt):
                while not runner.wait(0.5):
                    pass
        run = reader.run(run_id)
        assert run is not None
        progress.say(end_in_words(run))
        return 0 if run.state in ("finished", "stopped") else 1


def tell_memory(settings: Settings, options: argparse.Namespace) -> int:
    """Prints what memory a recipe will take."""
    from app.reckoning import memory_in_words

    print(memory_in_words(configured(options.recipe, options.set), settings.folder))
    return 0


def label_simulated(settings: Settings, options: argparse.Namespace) -> int:
    """Labels the live run's groups by a taste until the run ends, or Ctrl-C."""
    from app.progress import say
    from app.simulated_rater import judged_groups, rater_of

    rater = rater_of(options.taste, options.noise, options.rater)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    count = 0
    with opened_store(settings) as (reader, writer), suppress(KeyboardInterrupt):
        for task in judged_groups(rater, reader, writer, say):
            count += 1
            say(f"run {task.run_id}, step {task.step}: judged {task.prompt!r}")
    say(f"{rater.name} judged {count} groups.")
    return 0


def export_run(settings: Settings, options: argparse.Namespace) -> int:
    """Writes a run's groups as a folder."""
    from app.exchange.export import export_groups

    with opened_store(settings) as (reader, _):
        only_labelled = options.only == "labelled"
        count = export_groups(reader, options.run, options.into, options.layout, only_labelled=only_labelled)
    learn = f" Learn from them with --set rollout.stored_groups={options.into}." if options.layout == "groups" else ""
    print(f"{count} groups are in {options.into}.{learn}")
    return 0


def save_run(settings: Settings, options: argparse.Namespace) -> int:
    """Writes the trained model of a run as a folder."""
    from app.saving import CUT_SHORT, save_model, saved_in_words, wish_of

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with opened_store(settings) as (reader, _):
            wish = wish_of(reader, options.run, options.step, as_lora=options.lora)
        save_model(wish, settings.checkpoints(wish.run.id), options.into)
    except KeyboardInterrupt:
        print(CUT_SHORT, file=sys.stderr)
        return 1
    print(saved_in_words(wish, options.into))
    return 0


def import_run(settings: Settings, options: argparse.Namespace) -> int:
    """Takes groups and labels from a folder into the store, as a run of their own."""
    from app.exchange.importing import import_groups, in_words

    name = options.name or options.source.resolve().stem
    with opened_store(settings) as (_, writer):
        print(in_words(*import_groups(writer, options.source, name)))
    return 0


def race_headless(settings: Settings, options: argparse.Namespace) -> int:
    """Runs a race in this process and prints its result."""
    from app.progress import say
    from app.race.conductor import Conductor
    from app.race.plan import load_race
    from app.race.report import CAPTION, markdown, quality_rows, remarks, rows_of, tuning_rows
    from app.race.result import result_of

    plan = load_race(options.race)
    with opened_store(settings) as (reader, writer):
        with opened_runner(settings, reader, writer) as runner:
            conductor = Conductor(plan, runner=runner, reader=reader, writer=writer, say=say)
            try:
                conductor.run()
            except KeyboardInterrupt:
                say("The race is cut short. The same command goes on with it.")
        result = result_of(plan, reader.race_runs(conductor.race_id))
    if result.tried:
        say(markdown(tuning_rows(result)) + "\n")
    say(
        "\n".join(
            [
                f"{CAPTION}.",
                "",
                markdown(rows_of(result)),
                "",
                markdown(quality_rows(result)),
                "",
                *remarks(plan, result),
            ]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
