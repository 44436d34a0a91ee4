import signal

import pytest
from lab_folder import PATIENCE_SECONDS, lab_config, opened


@pytest.fixture(autouse=True)
def handlers():
    """The signal handlers as they were before a command that sets its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def lab(tmp_path):
    with opened(tmp_path) as (runner, reader):
        yield runner, reader


@pytest.fixture
def config_of(tmp_path, model_folder):
    return lambda **changes: lab_config(tmp_path, model_folder, **changes)


@pytest.fixture
def endless(config_of):
    """A run that is live until it is stopped."""
    return config_of(schedule={"num_steps": 100_000, "checkpoint_every": 100_000})


@pytest.fixture
def finished(lab, config_of):
    runner, _ = lab
    run_id = runner.start(config_of())
    assert runner.wait(PATIENCE_SECONDS)
    return run_id
