"""python -m benchmarks runs every measurement that takes minutes; those of hours or for a GPU are started by name."""

from __future__ import annotations

import subprocess
import sys

QUICK = ("verifier", "base_profile", "page", "page_ticks", "label_page", "label_storm", "step")
HOURS = (
    "learning shapes --seeds 0 1 2 --minutes 10 20",
    "race shapes --at-once 2",
    "race ablations --at-once 2",
    "people_steer people",
    "people_steer model",
    "label_saving",
)


def main() -> int:
    """Runs each in a process of its own, so that none disturbs another; the worst exit code."""
    codes = []
    for name in QUICK:
        print(f"== benchmarks.{name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode)
    for name in HOURS:
        print(f"== not run here, because it takes hours: python -m benchmarks.{name}")
    print("== not run here, because it needs a CUDA GPU: python -m benchmarks.memory")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
