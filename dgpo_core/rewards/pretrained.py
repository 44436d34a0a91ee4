"""Loading the models that judge: what goes wrong becomes one sentence with a way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dgpo_core.errors import RewardError


@contextmanager
def loading(name: str, place: str) -> Iterator[None]:
    """Turns what model libraries raise while a reward is loaded into words.

    Raises:
        RewardError: the model is not there, gated, torn, of another kind, or needs a package that is missing.
    """
    try:
        yield
    except ImportError as error:
        raise RewardError(f"The reward {name} needs a package that is missing: {str(error)[:200]}") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, RewardError):
            raise
        raise RewardError(
            f"The reward {name} cannot load its model from {place}: {str(error).strip().splitlines()[0][:200]} "
            "Only safetensors are read. Fetch it beforehand into reward.models_folder, check its name, or, for a "
            "gated model, log in with the hub's own command."
        ) from error
