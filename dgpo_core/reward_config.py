"""The settings of the reward: who judges, who is only watched, and where the models that judge are."""

from __future__ import annotations

from dataclasses import dataclass

from dgpo_core.knob import knob
from dgpo_core.reward_names import REWARD_NAMES, only_reward, parse_mixture, parse_watched

OFFLOAD, WARN = "offload", "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Who judges the pictures."""

    train: str = knob(
        "shapes_partial",
        "Reward that is trained on: a name, yours as file.py:function, or a mixture: ocr*0.7 + clipscore.",
        offers=REWARD_NAMES,
        is_important=True,
    )
    evaluation: str = knob(
        "shapes_strict",
        "Reward that the examination reports: one name, or your own as file.py:function.",
        offers=REWARD_NAMES,
    )
    watch: str = knob(
        "",
        "Rewards that are watched at examinations and never trained on, separated by commas; empty watches none.",
        offers=REWARD_NAMES,
    )
    on_alarm: str = knob(
        WARN,
        "What happens when a watched number falls while the score rises, or the score from its best: a warning, or a "
        "pause as well.",
        choices=(WARN, "pause"),
    )
    self_test: str = knob(
        "refuse",
        "What happens when a reward fails its self-test before the run: the run is refused, or starts with a warning.",
        choices=("refuse", WARN),
    )
    seconds: float = knob(
        600.0, "Seconds that a reward may take for the pictures of a step before the run ends.", low=0.1, high=1_000_000
    )
    models_folder: str = knob(
        "", "Folder of reward models fetched before, named like their hub ids; empty fetches them on first use."
    )
    models: str = knob(
        "keep",
        "Where reward models are while they do not judge: kept on the GPU, or offloaded to main memory.",
        choices=("keep", OFFLOAD),
    )
    server: str = knob(
        "",
        "Address of the server of the rewards remote, hpsv3 and deqa, or of an OpenAI-compatible one for vlm_judge, "
        "vlm_quality and unifiedreward; empty runs these three in this process.",
    )
    server_model: str = knob(
        "",
        "Model that the server, or this process, is to use for vlm_judge, vlm_quality and unifiedreward; empty: the "
        "usual.",
    )

    def __post_init__(self) -> None:
        parse_mixture(self.train, "reward.train")
        only_reward(self.evaluation, "reward.evaluation")
        parse_watched(self.watch, "reward.watch")

    @property
    def names(self) -> frozenset[str]:
        """Every reward that is named anywhere, alone or in a mixture."""
        trained = [share.name for share in parse_mixture(self.train, "reward.train")]
        return frozenset([*trained, self.evaluation, *parse_watched(self.watch, "reward.watch")])
