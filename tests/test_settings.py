"""The lab's own settings."""

import pytest

from app.settings import Settings
from dgpo_core.errors import ConfigError


def test_everything_the_lab_keeps_lies_in_its_folder(tmp_path):
    settings = Settings(folder=tmp_path)
    assert (settings.database, settings.own_prompts) == (tmp_path / "lab.db", tmp_path / "prompts")
    assert settings.checkpoints(3) == tmp_path / "runs" / "3" / "checkpoints"
    assert (settings.preferences(3), settings.saved_models) == (tmp_path / "preferences" / "3", tmp_path / "models")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_the_lab_listens_on_this_machine(host, tmp_path):
    assert Settings(folder=tmp_path, host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "lab.example", ""])
def test_it_refuses_to_listen_to_others_since_it_has_no_passwords(host, tmp_path):
    with pytest.raises(ConfigError, match=r"host must be of this machine .*, got .* use an SSH tunnel"):
        Settings(folder=tmp_path, host=host)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_refused(port, tmp_path):
    with pytest.raises(ConfigError, match=f"port must be 1 to 65535, got {port}"):
        Settings(folder=tmp_path, port=port)


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"got the file .*notes.txt\. Choose another place"):
        Settings(folder=path)
    assert path.read_text() == "mine"
