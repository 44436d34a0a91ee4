"""Where the lab keeps its things and where it listens, as one frozen value that is passed down."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from dgpo_core.errors import ConfigError

DATABASE_NAME = "lab.db"
UNFINISHED = ".unfinished"
"""What the name of a folder that is being written ends in, until it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The lab's own settings; the settings of a run are RunConfig.

    Raises:
        ConfigError: the folder is a file, the host is not of this machine, or the port is out of range.
    """

    folder: Path = Path("lab")
    host: str = "127.0.0.1"
    port: int = 7860

    def __post_init__(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"folder must be a folder, got the file {self.folder}. Choose another place for the lab.")
        if not _is_this_machine(self.host):
            raise ConfigError(
                f"host must be of this machine (127.0.0.1, ::1 or localhost), got {self.host!r}. The lab has no "
                "passwords; to reach it from elsewhere, use an SSH tunnel."
            )
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port must be 1 to 65535, got {self.port}. Choose a free one, such as 7860.")

    @property
    def database(self) -> Path:
        return self.folder / DATABASE_NAME

    def checkpoints(self, run_id: int) -> Path:
        """The folder of a run's checkpoints."""
        return self.folder / "runs" / str(run_id) / "checkpoints"

    def preferences(self, run_id: int) -> Path:
        """The folder of what was learned from a run's labels."""
        return self.folder / "preferences" / str(run_id)

    @property
    def saved_models(self) -> Path:
        """Folder of the trained models that the page saved."""
        return self.folder / "models"

    @property
    def own_prompts(self) -> Path:
        """Folder of the prompts that were pasted into the page."""
        return self.folder / "prompts"


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
