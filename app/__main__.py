"""python -m app opens the lab; python -m app train RECIPE does the same run without a browser."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from app.recipes import load_recipe
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from dgpo_core.config import RunConfig, from_dict, to_dict, with_setting
from dgpo_core.errors import ConfigError, LabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when all went well, 2 for something a person must change."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings(folder=options.folder, host=options.host, port=options.port)
        settings.folder.mkdir(parents=True, exist_ok=True)
        return options.command(settings, options)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"The lab cannot use {options.folder}: {error}. Choose another folder with --folder.", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("lab"), help="where the lab keeps everything (lab)")
    parser.add_argument("--host", default="127.0.0.1", help="address of this machine to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (7860)")
    parser.set_defaults(command=open_lab)
    commands = parser.add_subparsers(title="commands")
    train = commands.add_parser("train", help="run a recipe without a browser; an open page shows it live")
    train.add_argument("recipe", help="name of a recipe in assets/recipes, or a YAML file")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    train.set_defaults(command=train_headless)
    return parser


@contextmanager
def opened_store(settings: Settings) -> Iterator[tuple[Reader, Writer]]:
    """The store of a lab folder, made when it is new."""
    with Writer(settings.database) as writer:
        reader = Reader(settings.database)
        try:
            yield reader, writer
        finally:
            reader.close()


def open_lab(settings: Settings, options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C; a run then stops at its next safe point and is saved."""
    from app.lab import Lab
    from app.runner import Runner
    from app.store.lock import LabLock
    from app.ui.build import serve

    with LabLock(settings.folder, "lab"), opened_store(settings) as (reader, writer):
        runner = Runner(settings, reader, writer)
        try:
            serve(Lab(settings, reader, runner))
        finally:
            runner.close()
    return 0


def configured(recipe: str, changes: Sequence[str]) -> RunConfig:
    """A recipe with KEY=VALUE changes, values read as YAML."""
    values = to_dict(load_recipe(recipe))
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set needs KEY=VALUE, got {change!r}. For example: --set schedule.num_steps=100.")
        values = with_setting(values, key.strip(), yaml.safe_load(text))
    return from_dict(values)


def train_headless(settings: Settings, options: argparse.Namespace) -> int:
    """Does a run in this process with a progress bar on the terminal."""
    from app.progress import ProgressBar
    from app.runner import Runner, end_in_words

    config = configured(options.recipe, options.set)
    with opened_store(settings) as (reader, writer), ProgressBar() as progress:
        runner = Runner(settings, reader, writer)
        run_id = runner.start(config, on_event=progress.show)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while not runner.wait(0.5):
                pass
        except KeyboardInterrupt:
            runner.close()
        run = reader.run(run_id)
        assert run is not None
        progress.say(end_in_words(run))
        return 0 if run.state in ("finished", "stopped") else 1


if __name__ == "__main__":
    sys.exit(main())
