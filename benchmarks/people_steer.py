"""How far simulated people who like larger things move the model, and what that costs the verifier's score.

    python -m benchmarks.people_steer people --seeds 0 1 2      # 60 labels in 60 steps, all else by what they taught
    python -m benchmarks.people_steer model --seeds 0 1 2       # 100 labelled groups of the base, then nobody
    python -m benchmarks.people_steer people --steps 4 --set rollout.groups_per_step=4 --label trial

Runs go through the lab's own runner and store, in a folder under --work; a measurement that was cut short is taken up
by the same command. Kept as results/people_steer-<label>.json: on held-out prompts, the mean area of a thing before and
after in standard deviations of the base's pictures, and the strict verifier's score.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np

from app.__main__ import configured, opened_store
from app.runner import Runner
from app.settings import Settings
from app.simulated_rater import SimulatedRater
from app.store.reader import Reader
from app.store.rows import RunState
from app.store.writer import Writer
from benchmarks.base_profile import category_scores
from benchmarks.record import keep, kept
from dgpo_core.assembly import assemble, category_of
from dgpo_core.checkpoint import newest_checkpoint, step_of
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RunConfig, from_dict, to_dict
from dgpo_core.data.pictures import picture_of
from dgpo_core.ema import WeightCopy
from dgpo_core.examination import spread_over
from dgpo_core.preference.learned_reward import learn
from dgpo_core.preference.picture_features import PipelineFeatures
from dgpo_core.preference.saved import ABOUT, About, save_preference
from dgpo_core.reward_names import PREFERENCE
from dgpo_core.rewards.annotators import annotator, largeness
from dgpo_core.rewards.label_scores import has_preference, scores_of
from dgpo_core.rollout import draw_groups, of_step
from dgpo_core.trainer import Parts

NOISE = 0.1
RATER = "simulated"
NUM_LABELS = {"people": 60, "model": 100}
SHARES = {"people": 0.75, "model": 0.7}
"""Of people, or of what they taught; the rest is the verifier's partial credit."""
MEASURED_WITH = [
    "rollout.groups_per_step=8",
    "rollout.group_size=12",
    "update.micro_batch=48",
    "loss.extremes=0",
    "loss.reference_every=0",
    "update.decay_steps=0",
    "update.learning_rate=1e-3",
    "loss.kl_weight=0.01",
    "loss.kl_below=1",
    "loss.kl_on_alike=false",
    "update.averaged_decay=0.9",
    "loss.clip_range=0.01",
    "loss.advantage_clip=2",
    "loss.dual_clip=0.2",
    "schedule.num_steps=80",
]
"""What the recipe was when the kept results were made; it has changed since."""
MODES: dict[str, list[str]] = {
    "people": [
        f"people.weight={SHARES['people']}",
        "people.without_label=model",
        "people.groups_asked=1",
        "people.wait_seconds=2",
        *MEASURED_WITH,
    ],
    "model": [f"reward.train={PREFERENCE}*{SHARES['model']} + shapes_partial*{1 - SHARES['model']:g}", *MEASURED_WITH],
}
QUIET = ["schedule.evaluate_every=0", "schedule.evaluation_prompts=1", "schedule.checkpoint_every=5"]
LIKES_LARGE = annotator(largeness, noise=NOISE)
DRAWN_AT_ONCE = 8


def answer(rater: SimulatedRater, reader: Reader, writer: Writer, run_id: int) -> None:
    """Judges every group that waits now, and none once there are labels enough: the person has left."""
    while len(reader.labels_of_run(run_id)) < NUM_LABELS["people"]:
        if rater.judge_next(reader, writer, run_id) is None:
            return


def trained(config: RunConfig, folder: Path) -> tuple[Path, int]:
    """The checkpoints of a finished run of these settings, taken up where it was, and how many labels it had.

    Raises:
        SystemExit: the run in the folder has other settings, or did not finish.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rater = SimulatedRater(name=RATER, annotate=LIKES_LARGE, seeds=(config.seed,))
    with opened_store(Settings(folder=folder)) as (reader, writer):
        runner = Runner(Settings(folder=folder), reader, writer)
        try:
            known = reader.runs()
            if known and from_dict(known[0].config) != config:
                raise SystemExit(
                    f"The lab in {folder} holds a run with other settings than those given now. Remove that folder, or "
                    "give this measurement another --label or --work."
                )
            if not known:
                runner.start(config)
            elif known[0].state is not RunState.FINISHED:
                runner.resume(known[0].id)
            seen = -1
            while not runner.wait(0.2):
                run_id = reader.runs()[0].id
                answer(rater, reader, writer, run_id)
                if (step := reader.latest_step(run_id) or 0) > seen:
                    seen = step
                    print(f"seed {config.seed} step {step + 1} {time.strftime('%H:%M')}", flush=True)
            run = reader.runs()[0]
            if run.state is not RunState.FINISHED:
                raise SystemExit(f"The run {run.state}: {run.message}")
            return runner.checkpoints(run.id), len(reader.labels_of_run(run.id))
        finally:
            runner.close()


def taught(config: RunConfig, folder: Path, num_groups: int) -> tuple[Path, int]:
    """A preference learned from labelled groups of the base, kept in the folder, and how many groups it learned from.

    Fewer than num_groups where so many of those drawn got labels without a preference.
    """
    into = folder / "preference"
    if not into.exists():
        parts = assemble(replace(config, reward=replace(config.reward, train="shapes_partial")), folder / "unused")
        features, size = PipelineFeatures(parts.model), config.rollout.group_size
        labelled = []
        for step in range(-(-num_groups // DRAWN_AT_ONCE)):
            prompts = of_step(parts.train_prompts, step=step, count=DRAWN_AT_ONCE, run_seed=config.seed)
            batch = DRAWN_AT_ONCE * size
            rollout = draw_groups(parts.model, prompts, config.rollout, run_seed=config.seed, step=step, batch=batch)
            for index, prompt in enumerate(prompts):
                pictures = rollout.pictures[index * size : (index + 1) * size]
                scores = scores_of(LIKES_LARGE(pictures, np.random.default_rng([config.seed, step, index])), size)
                if has_preference(scores):
                    labelled.append((features(pictures, [prompt] * size), scores))
            print(f"seed {config.seed}: labelled {len(labelled)} groups of the base", flush=True)
        learned_from = labelled[:num_groups]
        reward, trust = learn(learned_from, features, seed=config.seed)
        assert trust is not None
        accuracy, error = trust.accuracy, trust.calibration_error
        save_preference(into, reward, About(num_groups=len(learned_from), accuracy=accuracy, calibration_error=error))
    return into, int(json.loads((into / ABOUT).read_text(encoding="utf-8"))["num_groups"])


def examined(parts: Parts, prompts: list[str], weights: WeightCopy | None) -> dict[str, float]:
    """Mean and spread of the area of a thing over pictures of held-out prompts, and the strict score."""
    done = parts.examiner.examine(prompts, seed=0, step=0, weights=weights)
    areas = [largeness(picture_of(sample.png)) for sample in done.samples]
    found = {"area": mean(areas), "area_std": pstdev(areas), "score": category_scores(done)["overall"]}
    return found | dict(done.quality)


def measured(mode: str, config: RunConfig, folder: Path, num_prompts: int) -> dict[str, Any]:
    """One seed: trains, and examines base and policy on the same prompts and seeds."""
    num_labels = 0
    if mode == "model":
        preference, num_labels = taught(config, folder, NUM_LABELS["model"])
        config = replace(config, people=replace(config.people, preference=str(preference.absolute())))
    checkpoints, num_given = trained(config, folder / "lab")
    parts = assemble(replace(config, people=replace(config.people, weight=0.0)), checkpoints)
    newest = newest_checkpoint(checkpoints)
    assert newest is not None
    prompts = spread_over(parts.heldout_prompts, num_prompts, category_of)
    before = examined(parts, prompts, None)
    after = examined(parts, prompts, averaged_weights(checkpoints, step_of(newest), parts.model))
    return {
        "labels": num_labels + num_given,
        "steps": step_of(newest),
        "before": before,
        "after": after,
        "moved": (after["area"] - before["area"]) / before["area_std"],
        "lost": before["score"] - after["score"],
    }


def is_same(kept_about: dict[str, Any], about: dict[str, Any]) -> bool:
    """Whether a measurement was made with these settings; those that came since are at their defaults."""
    return from_dict(kept_about["config"]) == from_dict(about["config"]) and all(
        kept_about[name] == about[name] for name in ("mode", "prompts", "noise")
    )


def measure(mode: str, config: RunConfig, seeds: Sequence[int], options: argparse.Namespace) -> None:
    """Every seed; what is known already is not measured again."""
    name = f"people_steer-{options.label or mode}"
    about = {"mode": mode, "config": to_dict(config), "prompts": options.prompts, "noise": NOISE}
    result: dict[str, Any] = kept(name) or {"about": about, "runs": {}}
    if not is_same(result["about"], about):
        raise SystemExit(f"The label {name!r} is taken by other settings. Give this measurement another --label.")
    for seed in seeds:
        if str(seed) not in result["runs"]:
            folder = options.work / (options.label or mode) / f"seed-{seed}"
            result["runs"][str(seed)] = measured(mode, replace(config, seed=seed), folder, options.prompts)
            keep(name, {"about": result["about"], "runs": result["runs"]})
        run = result["runs"][str(seed)]
        print(f"seed {seed}: {run['labels']} labels, moved {run['moved']:+.2f}, score lost {run['lost']:+.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=list(MODES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="steps of a run, instead of the mode's own")
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--label", default="")
    parser.add_argument("--work", type=Path, default=Path("work/people_steer"))
    arguments = parser.parse_args()
    steps = [f"schedule.num_steps={arguments.steps}"] if arguments.steps else []
    run_config = configured("shapes", [*QUIET, *MODES[arguments.mode], *steps, *arguments.set])
    measure(arguments.mode, run_config, arguments.seeds, arguments)
