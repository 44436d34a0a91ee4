"""Where a model comes from: a folder, a file, or the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from diffusers import DiffusionPipeline
from huggingface_hub import constants, hf_hub_download, model_info, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from dgpo_core.errors import ModelError
from dgpo_core.models.pipeline_folder import OPTIONAL, parts_of

INDEX = "model_index.json"
CONFIGURATIONS = ("*/config.json", "scheduler/*.json")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
UNREACHED = (httpx2.HTTPError, ConnectionError)
"""What the Hub's library raises for a network that is gone, stalls or breaks off, and for a Hub that refuses."""
NO_SAFETENSORS = "Could not find the necessary `safetensors` weights"
"""By which diffusers says, in an OSError like that of a full disk, that a repository has pickles only."""


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


def configurations_fetched(repository: str) -> Path:
    """The folder in which the configurations of a repository of the Hub now lie; its weights are left for a run.

    Raises:
        ModelError: as fetched().
    """
    return _from_hub(repository, _configurations)


def fetched(repository: str) -> Path:
    """The folder in which a repository of the Hub now lies; only safetensors and text are fetched.

    What was fetched before as a whole is used where the Hub cannot be reached or refuses.

    Raises:
        ModelError: it is gated, missing, no pipeline, of pickles, or cannot be reached.
    """
    return _from_hub(repository, _pipeline)


def _pipeline(repository: str, *, local_files_only: bool) -> Path:
    return Path(DiffusionPipeline.download(repository, use_safetensors=True, local_files_only=local_files_only))


def _configurations(repository: str, *, local_files_only: bool) -> Path:
    patterns = [INDEX, *CONFIGURATIONS]
    return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=local_files_only))


def _from_hub(repository: str, fetch: Callable[..., Path]) -> Path:
    with _refusals(repository):
        try:
            # What follows waits for ever, or six times as long; so whether the Hub answers is asked first.
            model_info(repository, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            hf_hub_download(repository, INDEX)
            return fetch(repository, local_files_only=False)
        except UNREACHED:
            folder = _here_whole(repository, fetch)
            if folder is None:
                raise
            return folder


def _here_whole(repository: str, fetch: Callable[..., Path]) -> Path | None:
    """The folder in which it lies from before, or None where anything is missing."""
    try:
        folder = fetch(repository, local_files_only=True)
        # Where the Hub's library kept no list of the files, it takes any folder for whole.
        parts = parts_of(folder)
    except (LocalEntryNotFoundError, ModelError):
        return None
    named = [name for name, what in parts.items() if isinstance(what, list) and what[0] and name not in OPTIONAL]
    return folder if all((folder / name).is_dir() for name in named) else None


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
    except (*UNREACHED, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"The model {repository} is neither a folder here nor fetched before as a whole, and the Hub cannot be "
            f"reached: {_reason(error)}. Connect to the network and start again, which goes on where it stopped, or "
            "name a folder."
        ) from error
    except OSError as error:
        if NO_SAFETENSORS in str(error):
            raise ModelError(
                f"The repository {repository} has weights that are not safetensors. Only safetensors are fetched, "
                "because a pickle could run any program when it is opened. Choose another copy of the model."
            ) from error
        raise ModelError(
            f"The model {repository} cannot be fetched: {_reason(error)}. Put that right and start again, which goes "
            "on where it stopped, or name a folder."
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
