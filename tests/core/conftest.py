import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums over several threads are rounded otherwise than over one, and a forked child may only have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def straight(loaded_model, tmp_path_factory):
    """Hashes of everything a run changes, after 0 to 3 undisturbed steps of the schedule EVERY_STEP."""
    from small_run import EVERY_STEP, Listener, numbers_at, run, small_config, small_parts

    from dgpo_core.events import Stop

    config, folder = small_config(schedule=EVERY_STEP), tmp_path_factory.mktemp("straight")
    # A stop before anything saves the state at step 0.
    run(config, small_parts(loaded_model, folder, config), listener=Listener({0: [Stop()]}))
    run(config, small_parts(loaded_model, folder, config))
    return [numbers_at(folder / f"step-{step:06d}", loaded_model, config) for step in range(4)]
