"""Before a run: does the reward answer at all, and does it tell good from bad?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Picture, Reward, Testable, judge, name_of
from dgpo_core.rewards.mixture import Mixture

PLAIN_SIZE, MOST_REASON = 64, 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a self-test, in words; rewards are of the better and the worse picture of each trial."""

    passed: bool
    words: str
    rewards: tuple[tuple[float | None, float | None], ...] = ()


def self_test(reward: Reward, *, prompt: str = "", seconds: float = 600.0) -> Outcome:
    """Has the reward judge pairs of which it must find the first better; one that names no pairs must just answer.

    To have no opinion is an answer where no reason is given, for a person's own may have none of a plain picture.
    Where there is one, such as a server that cannot be reached, it is not, and the reason stands in the words.

    prompt is one that the reward can judge, for a reward without trials.

    Raises:
        RewardError: the reward breaks its contract.
    """
    if isinstance(reward, Mixture):
        outcomes = [self_test(part.reward, prompt=prompt, seconds=seconds) for part in reward.parts]
        return Outcome(
            all(one.passed for one in outcomes),
            "; ".join(one.words for one in outcomes),
            tuple(pair for one in outcomes for pair in one.rewards),
        )
    name = name_of(reward)
    trials = reward.trials() if isinstance(reward, Testable) else []
    if not trials:
        answered = judge(reward, [_gradient()], [prompt], seconds=seconds)[0]
        if answered.reward is None and answered.details:
            return Outcome(False, f"{name} has no opinion on a plain picture: {answered.details[:MOST_REASON]}")
        said = "no opinion" if answered.reward is None else f"{answered.reward:.4g}"
        return Outcome(True, f"{name} answers ({said}) and names no pictures that it must tell apart")
    pairs, reasons = [], []
    for trial in trials:
        better, worse = judge(reward, [trial.better, trial.worse], [trial.prompt] * 2, seconds=seconds)
        pairs.append((better.reward, worse.reward))
        reasons += [one.details for one in (better, worse) if one.reward is None and one.details]
    right = sum(one is not None and other is not None and one > other for one, other in pairs)
    written = ", ".join(f"{_written(one)} against {_written(other)}" for one, other in pairs)
    written += f": {reasons[0][:MOST_REASON]}" if reasons else ""
    words = f"{name} puts {right} of {len(pairs)} good pictures above their bad counterparts ({written})"
    return Outcome(right == len(pairs), words, tuple(pairs))


def check_reward(reward: Reward, *, prompt: str, seconds: float, only_warns: bool = False) -> str:
    """Refuses a reward that fails its self-test, or where it only warns, gives the words; empty where it passes.

    Raises:
        RewardError: it cannot tell good from bad, or breaks its contract; the message has the numbers.
    """
    why: RewardError | None = None
    try:
        outcome = self_test(reward, prompt=prompt, seconds=seconds)
    except RewardError as error:
        why, outcome = error, Outcome(False, str(error).rstrip("."))
    if outcome.passed:
        return ""
    failed = f"The self-test failed: {outcome.words}."
    if only_warns:
        return (
            f"{failed} The run goes on, as reward.self_test is warn. Look at what the reward says of pictures on the "
            "Rewards tab."
        )
    raise RewardError(
        f"{failed} A run would learn nothing good from it. Check its model, its server and its settings on the Rewards "
        "tab. Where the self-test itself is wrong, set reward.self_test to warn: the run then starts all the same."
    ) from why


def _written(value: float | None) -> str:
    return "no opinion" if value is None else f"{value:.3g}"


def _gradient() -> Picture:
    ramp = np.linspace(0, 255, PLAIN_SIZE)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 128.0), axis=2).astype(np.uint8)
