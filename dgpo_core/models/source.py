"""Where a model comes from: a folder, a file, or the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from dgpo_core.errors import ModelError

INDEX = "model_index.json"
CONFIGURATIONS = ("*/config.json", "scheduler/*.json")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def found(name: str, project: Path, fetch: Callable[[str], Path] | None = None) -> Path:
    """The folder or file that model.folder names: here, in the project, or of the Hub by fetch (None: the whole model).

    Raises:
        ModelError: it is a repository that fetch cannot get. A folder that is not there is left to who reads it.
    """
    here = Path(name)
    for place in (here, project / here):
        if os.path.exists(place):
            return place
    if not HUB_ID.fullmatch(name):
        return here
    return (fetch or fetched)(name)


def fetched_before(repository: str) -> Path:
    """The folder in which a repository of the Hub lies, without asking the Hub.

    Raises:
        ModelError: it was never fetched.
    """
    try:
        return Path(hf_hub_download(repository, INDEX, local_files_only=True)).parent
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"The model {repository} is neither a folder here nor fetched before, so what memory it takes is not "
            "known. Start fetches it, or name a folder."
        ) from error


def configurations_fetched(repository: str, *, endpoint: str | None = None) -> Path:
    """The folder in which the configurations of a repository of the Hub now lie; its weights are left for a run.

    Raises:
        ModelError: as fetched().
    """
    with _refusals(repository):
        hf_hub_download(repository, INDEX, endpoint=endpoint)
        return Path(snapshot_download(repository, allow_patterns=[INDEX, *CONFIGURATIONS], endpoint=endpoint))


def fetched(repository: str, *, endpoint: str | None = None) -> Path:
    """The folder in which a repository of the Hub now lies; only safetensors and text are fetched.

    endpoint is the Hub's address, where it is not the usual one.

    Raises:
        ModelError: it is gated, missing, no pipeline, of pickles, or cannot be reached.
    """
    with _refusals(repository):
        hf_hub_download(repository, INDEX, endpoint=endpoint)
        return Path(DiffusionPipeline.download(repository, use_safetensors=True))


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    """Within, what the Hub's library raises becomes a ModelError with one sentence."""
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"The model {repository} is gated: its owners let in who accepts their terms. Accept them on its page, "
            "log in here with the command hf auth login, and start again."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"There is no model {repository}: no folder of that name is here, and no repository that you may read is "
            "on the Hub. Check the spelling, or log in with hf auth login if it is private."
        ) from error
    except RemoteEntryNotFoundError as error:
        raise ModelError(
            f"The repository {repository} holds no diffusers pipeline: it has no model_index.json. Choose one that has."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, ConnectionError) as error:
        raise ModelError(
            f"The model {repository} is neither a folder here nor fetched before, and the Hub cannot be reached. "
            "Connect to the network and start again, or name a folder."
        ) from error
    except OSError as error:
        raise ModelError(
            f"The model {repository} cannot be fetched: {str(error).splitlines()[0][:200]}. Only safetensors are read, "
            "because a pickle could run any program when it is opened. Choose another copy of the model."
        ) from error
