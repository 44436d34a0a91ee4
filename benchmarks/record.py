"""Where measurements are kept: one JSON file each, with the machine, the commit and the command that made it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Processor with the instructions that torch uses, cores, torch threads and the card, if there is one, in words."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    card = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{card}{model} ({instructions}), {os.cpu_count()} cores, {threads} torch threads, torch {torch.__version__}"


def commit() -> str:
    """Short hash of the commit measured, with + where the tree had changes."""
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def write_whole(file: Path, text: str) -> None:
    """Gives a file this text; a kill at any moment leaves either the old text or the new."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def keep(name: str, values: dict[str, Any]) -> Path:
    """Writes one measurement and returns its file; the one before is lost only once the new one is whole."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    about = {
        "command": "python -m " + shlex.join([_module(), *sys.argv[1:]]),
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "machine": machine(),
    }
    write_whole(file, json.dumps(about | values, indent=1) + "\n")
    return file


def kept(name: str) -> dict[str, Any] | None:
    """A measurement made before, or None."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"
