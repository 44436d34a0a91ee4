"""What the embedded base can do: 600 held-out prompts at three seeds, per category, and how clean it draws.

python -m benchmarks.base_profile [--model FOLDER] [--steps 8] [--guidance 1]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.record import keep
from dgpo_core.assembly import assemble
from dgpo_core.config import RolloutConfig, RunConfig
from dgpo_core.events import EvaluationDone

SEEDS = (0, 1, 2)
SD35_MEDIUM = {"single": 0.98, "two": 0.78, "counting": 0.50, "colors": 0.81, "position": 0.24, "attribution": 0.52}
"""GenEval of SD3.5-M: DGPO paper, Table 1."""


def category_scores(done: EvaluationDone) -> dict[str, float]:
    """Mean score of each category, and overall as their mean, as GenEval has it."""
    scores: dict[str, list[float]] = defaultdict(list)
    for sample in done.samples:
        scores[sample.category].append(sample.score or 0.0)
    by_category = {category: mean(values) for category, values in scores.items()}
    return by_category | {"overall": mean(by_category.values())}


def over_seeds(parts: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of each number over seeds, and "by_seed" the number of each seed, in their order."""
    return {
        name: {"mean": mean(values), "std": stdev(values) if len(values) > 1 else 0.0, "by_seed": values}
        for name in parts[0]
        for values in [[part[name] for part in parts]]
    }


def profile(config: RunConfig) -> dict[str, Any]:
    """Scores and quality of the base over all held-out prompts and SEEDS."""
    parts = assemble(config, Path("unused"))
    done = [parts.examiner.examine(parts.heldout_prompts, seed=seed, step=0, weights=None) for seed in SEEDS]
    return {
        "prompts": len(parts.heldout_prompts),
        "seeds": list(SEEDS),
        "scores": over_seeds([category_scores(one) for one in done]),
        "quality": over_seeds([dict(one.quality) for one in done]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="assets/shapes-sd3")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=1.0)
    arguments = parser.parse_args()
    rollout = RolloutConfig(num_sampling_steps=arguments.steps, guidance_scale=arguments.guidance)
    config = RunConfig(rollout=rollout)
    config = replace(config, model=replace(config.model, folder=arguments.model))
    is_shipped = arguments.model == "assets/shapes-sd3" and arguments.steps == 8 and arguments.guidance == 1
    result = profile(config)
    if is_shipped:
        keep("base_profile", result | {"sd35_medium": SD35_MEDIUM})
    for kind in ("scores", "quality"):
        for name, value in result[kind].items():
            print(f"{name:20} {value['mean']:.3f} +- {value['std']:.3f}  {SD35_MEDIUM.get(name, '')}")
