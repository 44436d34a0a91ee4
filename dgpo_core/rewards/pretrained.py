"""Loading the models that judge: where weights lie, heads of linear layers, and what goes wrong in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from dgpo_core.errors import RewardError
from dgpo_core.rewards.contract import Judgement, Picture

WEIGHTS_FILE = "model.safetensors"
BATCH = 16
INSTALL = ".venv/bin/python -m pip install -c constraints.txt"


@contextmanager
def loading(name: str, place: str) -> Iterator[None]:
    """Turns what model libraries raise while a reward is loaded into words.

    Raises:
        RewardError: the model is not there, gated, torn, of another kind, or needs a package that is missing.
    """
    try:
        yield
    except ImportError as error:
        package = error.name.partition(".")[0] if error.name else "and the name of that package"
        raise RewardError(
            f"The reward {name} needs a package that is missing: {str(error).strip()[:200].rstrip('.')}. "
            f"Install it: {INSTALL} {package}"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, RewardError):
            raise
        raise RewardError(
            f"The reward {name} cannot load its model from {place}: {str(error).strip().splitlines()[0][:200]} "
            "Only safetensors are read. Fetch it beforehand into reward.models_folder, check its name, or, for a "
            "gated model, log in with the hub's own command."
        ) from error


def judged_in_batches(
    name: str,
    values_of: Callable[[Sequence[Picture], Sequence[str]], list[float]],
    pictures: Sequence[Picture],
    prompts: Sequence[str],
) -> list[Judgement]:
    """One judgement per picture, of values that are reckoned for BATCH pictures and prompts at a time."""
    values: list[float] = []
    for start in range(0, len(pictures), BATCH):
        rows = slice(start, start + BATCH)
        values += values_of(pictures[rows], prompts[rows])
    return [Judgement(value, ((name, value),), f"{name} {value:.4g}") for value in values]


def weights_file(place: str) -> Path:
    """The one file of weights in a folder, or of a repository on the hub, which is fetched."""
    from huggingface_hub import hf_hub_download

    folder = Path(place)
    return folder / WEIGHTS_FILE if folder.is_dir() else Path(hf_hub_download(place, WEIGHTS_FILE))


def head_from(weights: Mapping[str, Tensor], name: str) -> nn.Module:
    """Linear layers one after the other, named by their numbers, in float32; dropout between them plays no part here.

    Raises:
        RewardError: there are none, they do not fit each other, or they do not end in one number.
    """
    numbers = sorted({int(one.split(".")[0]) for one in weights if one.endswith(".weight")})
    layers = []
    for number in numbers:
        weight, bias = weights[f"{number}.weight"], weights[f"{number}.bias"]
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight, layer.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
        layers.append(layer)
    fits = all(one.out_features == other.in_features for one, other in pairwise(layers))
    if not layers or not fits or layers[-1].out_features != 1:
        raise RewardError(
            f"The head of {name} must be linear layers, one after the other, that end in one number; its weights are "
            f"{', '.join(sorted(weights))[:200] or 'none'}. Take the model that docs/rewards.md names."
        )
    return nn.Sequential(*layers)
