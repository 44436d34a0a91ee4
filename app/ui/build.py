"""The page's table of contents, and the one place that says how it is launched."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read while gradio is imported

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from app.lab import Lab
from app.ui import serving
from app.ui.label_page import label_page
from app.ui.live import Live, LivePage
from app.ui.tabs.compare import compare_tab
from app.ui.tabs.people import people_tab
from app.ui.tabs.race import race_tab
from app.ui.tabs.rewards import rewards_tab
from app.ui.tabs.runs import runs_tab
from app.ui.tabs.train import train_tab
from app.ui.theme import stylesheet, theme
from dgpo_core.errors import ConfigError

TITLE = "DGPO Lab"
SUBTITLE = "Teach a text-to-image model by comparing groups of its own pictures."

CACHE_SECONDS = (3600, 24 * 3600)
"""How often what was sent and saved is looked through, and at what age it goes."""


def build_page(lab: Lab) -> LivePage:
    """The whole page. It holds no state of a run; everything comes from the store."""
    live = Live(lab.reader, lab.actions.trouble)
    with LivePage(
        title=TITLE, analytics_enabled=False, fill_width=True, elem_id="lab", delete_cache=CACHE_SECONDS
    ) as page:
        page.live = live
        gr.HTML(f'<header class="lab-header"><h1>{TITLE}</h1><p>{SUBTITLE}</p></header>', js_on_load=None)
        live.heartbeat()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Train", id="train"):
                form = train_tab(lab, live)
            with gr.Tab("Compare", id="compare"):
                compare_tab(lab, live)
            with gr.Tab("Runs", id="runs"):
                runs_tab(lab, live, form)
            with gr.Tab("Rewards", id="rewards"):
                rewards_tab(lab, live)
            with gr.Tab("Race", id="race"):
                race_tab(lab, live)
            with gr.Tab("People", id="people"):
                people_tab(lab, live)
    with page.route("Label", "/label"):
        label_page(lab, live)
    page.queue(max_size=64, default_concurrency_limit=4, api_open=False)
    return page


def launch_options(lab: Lab) -> dict[str, Any]:
    """Keyword arguments of launch().

    Raises:
        ConfigError: Gradio's vibe mode is on; it runs code that a browser sends.
    """
    if os.environ.get("GRADIO_VIBE_MODE"):
        raise ConfigError("GRADIO_VIBE_MODE is set: it lets a browser run code on this machine. Unset it first.")
    return {
        "server_name": f"[{host}]" if ":" in (host := lab.settings.host) else host,
        "server_port": lab.settings.port,
        "share": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "run_history": False,
        "pwa": False,
        "show_error": False,
        "quiet": True,
        "footer_links": [],
        "allowed_paths": [],
        "blocked_paths": [str(lab.settings.folder.resolve())],
        "max_file_size": "1gb",  # for labels with their pictures; who takes less says so itself
        "theme": theme(),
        "css": stylesheet(),
        "favicon_path": Path(__file__).parent / "components" / "favicon.svg",
        "app_kwargs": {
            "routes": serving.routes(lab.reader),
            "middleware": serving.middleware(lab.settings.host),
        },
    }


def serve(lab: Lab) -> None:
    """Open the page, say where it is, and return when the person ends it with Ctrl-C.

    Raises:
        ConfigError: the port is taken, or Gradio is set up in a way that is not safe.
    """
    with TemporaryDirectory(prefix="dgpo-lab-") as private:
        os.environ["GRADIO_TEMP_DIR"] = private  # else files that a browser sends lie where every user can read them
        page = build_page(lab)
        try:
            _, url, _ = page.launch(prevent_thread_lock=True, **launch_options(lab))
        except OSError:
            port = lab.settings.port
            raise ConfigError(f"port {port} is taken. Choose another with --port {port + 1}.") from None
        sys.stdout.write(f"{TITLE} is open at {url} (Ctrl-C ends it).\n")
        sys.stdout.flush()
        page.block_thread()
