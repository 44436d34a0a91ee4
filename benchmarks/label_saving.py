"""How many labels picking saves: held-out pair accuracy by number of labelled groups, picked against random.

    python -m benchmarks.label_saving [--seeds 0 1 2 3] [--groups 260] [--tastes large warm]
    python -m benchmarks.label_saving --seeds 0 --groups 200 --tastes large --label trial

Groups are drawn by the base once and kept under --work. Each turn offers the next groups of a shuffled pool, as a
step of training would, and asks a simulated annotator (10% noise) about some; what is learned from all labels so far
is examined on groups of other pictures against the taste itself, without noise. Kept as results/label_saving.json,
with a label as results/label_saving-<label>.json; what is kept there of the same groups is taken up.

The interval of a saving is what seeds drawn anew from those measured would give, nine times in ten. All seeds split and
shuffle one and the same pool of groups, drawn by one base, so it tells nothing of other pictures or other weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.record import keep, kept
from dgpo_core.assembly import load_model
from dgpo_core.config import RunConfig, from_dict
from dgpo_core.data.prompts import load_prompts
from dgpo_core.models.protocol import Model
from dgpo_core.preference.ensemble import learned
from dgpo_core.preference.learned_reward import table_of
from dgpo_core.preference.orders import trust
from dgpo_core.preference.picking import worth_asking
from dgpo_core.preference.picture_features import PipelineFeatures
from dgpo_core.rewards.annotators import TASTES, annotator
from dgpo_core.rewards.contract import Picture
from dgpo_core.rewards.label_scores import scores_of
from dgpo_core.rollout import draw_groups, of_step

SIZE, PER_DRAW = 10, 8
NOISE = 0.1
OFFERED, ASKED = 8, 2
HELD_OUT = 100
NUM_TURNS = 20
COMPARED_AT = (12, 20, 28)
RESAMPLES = 2000
INTERVAL = (5.0, 95.0)
"""Percentiles of the savings of resampled seeds: 90% of them lie between."""
Curves = dict[str, list[float]]
"""Held-out accuracy after each turn of one seed, "random" and "picked"."""


def drawn(model: Model, config: RunConfig, count: int, work: Path) -> tuple[list[str], list[list[Picture]]]:
    """Prompts and groups of pictures by the base; those drawn before with the same weights are read back."""
    work.mkdir(parents=True, exist_ok=True)
    every = load_prompts("shapes-train", Path())
    prompts: list[str] = []
    groups: list[list[Picture]] = []
    for step in range(-(-count // PER_DRAW)):
        asked = of_step(every, step=step, count=PER_DRAW, run_seed=0)
        file = work / f"groups-{model.identity()['transformer']}-{step}.npy"
        if not file.exists():
            rollout = draw_groups(model, asked, config.rollout, run_seed=0, step=step, batch=PER_DRAW * SIZE)
            np.save(file, np.stack(rollout.pictures))
            print(f"drew {(step + 1) * PER_DRAW} groups", flush=True)
        pictures = list(np.load(file))
        prompts += asked
        groups += [pictures[row : row + SIZE] for row in range(0, len(pictures), SIZE)]
    return prompts[:count], groups[:count]


class Study:
    """One taste on one pool of groups."""

    def __init__(
        self, taste: str, features: torch.Tensor, groups: Sequence[Sequence[Picture]], weights: torch.Tensor
    ) -> None:
        self._features, self._groups, self._weights = features, groups, weights
        self._annotate = annotator(TASTES[taste], noise=NOISE)
        truth = [[TASTES[taste](picture) for picture in group] for group in groups]
        self._truth = torch.tensor(truth, dtype=torch.float32)

    def curve(self, seed: int, *, is_picked: bool) -> list[float]:
        """Held-out accuracy after each turn of ASKED labels."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self._groups))
        held_out, pool = torch.from_numpy(order[:HELD_OUT]), order[HELD_OUT:]
        said: dict[int, list[float | None]] = {}
        heads, accuracies = None, []
        for turn in range(min(NUM_TURNS, len(pool) // OFFERED)):
            offered = pool[turn * OFFERED : (turn + 1) * OFFERED]
            first = list(range(ASKED))
            chosen = worth_asking(heads, self._features[offered], ASKED) if heads and is_picked else first
            for index in (int(offered[one]) for one in chosen):
                label = self._annotate(self._groups[index], np.random.default_rng([seed, index]))
                said[index] = scores_of(label, SIZE)
            table = table_of([(self._features[index], scores) for index, scores in said.items()])
            heads, _ = learned(*table, self._weights, seed=seed, is_trust_wanted=False)
            strength = heads.strengths(self._features[held_out].flatten(0, 1)).mean(0).unflatten(0, (HELD_OUT, SIZE))
            found = trust(strength, self._truth[held_out])
            assert found is not None
            accuracies.append(found.accuracy)
        return accuracies


def saving(random: npt.ArrayLike, picked: npt.ArrayLike, num_labels: int) -> dict[str, float]:
    """Labels that picking needs for the best mean accuracy of random up to num_labels, and the share saved.

    Both curves count as never falling, and as a line between turns; nan where picking never gets there.
    """
    best = np.maximum.accumulate(picked)
    target = float(np.maximum.accumulate(random)[num_labels // ASKED - 1])
    turns = np.arange(1, len(best) + 1) * ASKED
    needed = float(np.interp(target, best, turns, left=float(turns[0]), right=float("nan")))
    return {"accuracy": target, "random": num_labels, "picked": needed, "saved": 1 - needed / num_labels}


def taken_up(before: dict[str, Any] | None, about: dict[str, Any], name: str) -> dict[str, dict[str, Curves]]:
    """The curves that are kept already, by taste and seed.

    Raises:
        SystemExit: they were measured with other parameters, and would be lost.
    """
    if before is None:
        return {}
    was = before["about"]
    others = [f"{one} was {was.get(one)}, now {about[one]}" for one in about if was.get(one) != about[one]]
    if others:
        raise SystemExit(
            f"The label {name!r} is taken by a measurement with other parameters ({'; '.join(others)}). Give this one "
            "another --label."
        )
    return before["curves"]


def measure(seeds: Sequence[int], tastes: Sequence[str], num_groups: int, label: str, work: Path) -> None:
    """Every taste with every seed; what is known already is not measured again."""
    config = from_dict({"rollout": {"group_size": SIZE}})
    model = load_model(config)
    about = {"groups": num_groups, "size": SIZE, "noise": NOISE, "offered": OFFERED, "asked": ASKED}
    about |= {"transformer": model.identity()["transformer"], "held_out": HELD_OUT}
    name = f"label_saving-{label}" if label else "label_saving"
    known_curves = taken_up(kept(name), about, name)
    prompts, groups = drawn(model, config, num_groups, work)
    features = PipelineFeatures(model)
    known = [features(group, [prompt] * SIZE) for group, prompt in zip(groups, prompts, strict=True)]
    for taste in tastes:
        study = Study(taste, torch.stack(known), groups, features.weights())
        curves = known_curves.setdefault(taste, {})
        for seed in seeds:
            if str(seed) not in curves:
                curves[str(seed)] = {
                    "random": study.curve(seed, is_picked=False),
                    "picked": study.curve(seed, is_picked=True),
                }
                print(f"{taste}, seed {seed}: done", flush=True)
            keep(name, {"about": about, "curves": known_curves, "savings": savings(known_curves)})
    print(savings(known_curves))


def savings(curves: dict[str, dict[str, Curves]]) -> dict[str, list[dict[str, Any]]]:
    """For each taste, the saving at several numbers of labels from curves averaged over seeds, and its interval."""
    found = {}
    for taste, by_seed in curves.items():
        of_seeds = list(by_seed.values())
        possible = [count for count in COMPARED_AT if count // ASKED <= len(of_seeds[0]["random"])]
        found[taste] = [
            saving_of(of_seeds, count) | {"interval": interval(of_seeds, count, np.random.default_rng(0))}
            for count in possible
        ]
    return found


def saving_of(of_seeds: Sequence[Curves], num_labels: int) -> dict[str, float]:
    """The saving of the mean curves of seeds."""
    random, picked = (np.mean([one[name] for one in of_seeds], axis=0) for name in ("random", "picked"))
    return saving(random, picked, num_labels)


def interval(of_seeds: Sequence[Curves], num_labels: int, rng: np.random.Generator) -> list[float]:
    """Between which shares saved 90% lie when as many seeds are drawn from these with replacement.

    Where picking never gets there it counts as if it had with the last label of its curve.
    """
    never = 1 - len(of_seeds[0]["picked"]) * ASKED / num_labels
    draws = rng.integers(len(of_seeds), size=(RESAMPLES, len(of_seeds)))
    saved = [saving_of([of_seeds[seed] for seed in draw], num_labels)["saved"] for draw in draws]
    return [float(one) for one in np.percentile(np.nan_to_num(saved, nan=never), INTERVAL)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(36)))
    parser.add_argument("--tastes", nargs="+", choices=list(TASTES), default=list(TASTES))
    parser.add_argument("--groups", type=int, default=260)
    parser.add_argument("--label", default="")
    parser.add_argument("--work", type=Path, default=Path("work/label_saving"))
    arguments = parser.parse_args()
    measure(arguments.seeds, arguments.tastes, arguments.groups, arguments.label, arguments.work)
