import pytest
import torch
from small_run import Listener, run, small_config, small_parts

from dgpo_core.errors import ModelError
from dgpo_core.events import StepDone, Warned
from dgpo_core.halving import halving, is_out_of_memory


class Cramped:
    """The model on a machine with room for some pictures at a time where gradients are kept."""

    def __init__(self, model, room):
        self._model, self._room = model, room

    def __getattr__(self, name):
        return getattr(self._model, name)

    def velocity(self, x, sigma, conditioning):
        if torch.is_grad_enabled() and len(x) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words.")
        return self._model.velocity(x, sigma, conditioning)


@pytest.mark.parametrize("per_sigma", [True, False])
@pytest.mark.parametrize("room", [1, 3])
def test_a_run_that_runs_out_of_memory_learns_the_same_in_smaller_parts(model, tmp_path, room, per_sigma):
    config = small_config(update={"per_sigma": per_sigma}, schedule={"num_steps": 1})
    weights = []
    for kind, folder in ((model, "plain"), (Cramped(model, room), "cramped")):
        _, heard = run(config, small_parts(kind, tmp_path / folder, config))
        weights.append({name: one.detach().clone() for name, one in model.policy_parameters().items()})
    torch.testing.assert_close(*weights, atol=2e-4, rtol=0)
    words = [warned.message for warned in heard.of(Warned)]
    sizes = {1: [4, 2, 1], 3: [4, 2]}[room]
    assert words == [f"Memory ran out, so update.micro_batch is {size} from now on; nothing is lost." for size in sizes]
    (step,) = heard.of(StepDone)
    assert step.metrics.grad_norm > 0


def test_without_room_for_one_picture_the_run_says_what_helps(model, tmp_path):
    config = small_config(schedule={"num_steps": 1})
    with pytest.raises(
        ModelError, match=r"one picture at a time: CUDA out of memory.* Turn model.checkpointing on"
    ) as no:
        run(config, small_parts(Cramped(model, 0), tmp_path, config), listener=Listener())
    assert "\n" not in str(no.value)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def work():
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        halving(work, lambda: 8, lambda: None)


def test_a_lack_of_main_memory_is_one_too():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(failure.value)
