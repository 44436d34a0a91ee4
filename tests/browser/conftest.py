"""A lab on a free port over a store that the real Writer fills, and pages in a real Chromium that must stay clean.

A test asks for `open_lab` and `open_page`. Both end what they started. A page fails its test if it printed an
error to the console or asked for anything off this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import port

OUTPUT = Path(__file__).parents[2] / "test-output"


@dataclass(frozen=True)
class OpenLab:
    """A lab that answers at url. actions remember what the page asked for."""

    url: str
    folder: Path
    writer: Any
    reader: Any
    actions: Any


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium to drive: of LAB_CHROMIUM, else of the path."""
    path = os.environ.get("LAB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here: install Debian's package chromium, or name one in LAB_CHROMIUM")
    return path


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_lab(tmp_path: Path) -> Iterator[Callable[..., OpenLab]]:
    """Opens a lab; fill(writer) is called before the page is built, so that a test can choose what is stored."""
    from store_actions import StoreActions

    from app.lab import Lab
    from app.settings import Settings
    from app.store.reader import Reader
    from app.store.writer import Writer
    from app.ui.build import build_page, launch_options

    opened: list[tuple[Any, Any, Any]] = []

    def opener(
        fill: Callable[[Any], Any] = lambda writer: None, actions: Callable[[Any], Any] = StoreActions
    ) -> OpenLab:
        folder = tmp_path / f"lab{len(opened)}"
        folder.mkdir()
        settings = Settings(folder=folder, port=port.free_port())
        writer = Writer(settings.database)
        fill(writer)
        lab = Lab(settings, Reader(settings.database), actions(writer))
        lab.actions.reader = lab.reader
        page = build_page(lab)
        _, url, _ = page.launch(**launch_options(lab), prevent_thread_lock=True)
        opened.append((page, writer, lab.reader))
        return OpenLab(url.rstrip("/"), folder, writer, lab.reader, lab.actions)

    yield opener
    for page, writer, reader in opened:
        page.close(verbose=False)
        writer.close()
        reader.close()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens on."""
    return port.free_port()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page of a lab; options go to the browser's context (viewport, color_scheme ...)."""
    contexts, troubles = [], []

    def opener(url: str, path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: troubles.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(f"page: {error}"))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _note_foreign(request.url, url, troubles))
        page.goto(url + path)
        return page

    yield opener
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def take_picture() -> Callable[..., Path]:
    """Keeps a screenshot under test-output/, which is where people look at what the page looks like."""

    def take(page: Any, name: str, *, full_page: bool = False) -> Path:
        OUTPUT.mkdir(exist_ok=True)
        path = OUTPUT / f"{name}.png"
        page.screenshot(path=path, full_page=full_page)
        return path

    return take


def _note_foreign(asked: str, own: str, troubles: list[str]) -> None:
    if not asked.startswith((own, "data:", "blob:")):
        troubles.append(f"off the machine: {asked}")
