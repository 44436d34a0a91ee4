import pytest
import torch
from small_model import PROMPTS
from small_run import Listener, run, small_config, small_parts

from dgpo_core.errors import ModelError
from dgpo_core.events import Compare, ComparisonDone, Preview, SampleNow, StepDone, Warned
from dgpo_core.halving import halved_until_it_fits, halving, is_out_of_memory
from dgpo_core.updates.dgpo import DgpoUpdate


class Cramped:
    """The model on a machine with room for some pictures at a time where gradients are kept, or when it draws."""

    def __init__(self, model, room, room_to_draw=1000):
        self._model, self._room, self._room_to_draw = model, room, room_to_draw

    def __getattr__(self, name):
        return getattr(self._model, name)

    def velocity(self, x, sigma, conditioning):
        if len(x) > (self._room if torch.is_grad_enabled() else self._room_to_draw):
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


@pytest.mark.parametrize(
    ("errand", "answer"),
    [
        (SampleNow(prompts=tuple(PROMPTS * 2), seed=1), Preview),
        (Compare(request_id=1, step=None, num_prompts=2, seed=1), ComparisonDone),
    ],
)
def test_what_is_asked_for_between_steps_is_drawn_in_smaller_parts_too(model, tmp_path, errand, answer):
    config = small_config(schedule={"num_steps": 1, "evaluation_prompts": 1}, rollout={"groups_per_step": 1})
    commands = [errand]
    parts = small_parts(Cramped(model, 1000, room_to_draw=2), tmp_path, config)
    _, heard = run(config, parts, next_command=lambda: commands.pop() if commands else None)
    assert len(heard.of(answer)) == 1
    assert heard.of(Warned)[0].message.startswith("Memory ran out, so update.micro_batch is 4 from now on")


def test_what_cannot_be_drawn_at_all_leaves_training_as_it_was(model, tmp_path):
    class NoRoomForTexts(Cramped):
        def encode(self, prompts):
            if len(prompts) > 6:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self._model.encode(prompts)

    config = small_config(schedule={"num_steps": 1, "evaluation_prompts": 1}, rollout={"groups_per_step": 1})
    commands = [SampleNow(prompts=tuple(PROMPTS[:1] * 7), seed=1)]
    parts, sizes = small_parts(NoRoomForTexts(model, 1000), tmp_path, config), []
    learn = DgpoUpdate.accumulate

    def watched(update, *arguments):
        sizes.append(update.micro_batch)
        learn(update, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DgpoUpdate, "accumulate", watched)
        _, heard = run(config, parts, next_command=lambda: commands.pop() if commands else None)
    assert heard.of(Preview) == []
    assert set(sizes) == {config.update.micro_batch}


def test_a_size_is_halved_until_the_work_fits():
    tried = []

    def work(size):
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError("no room")
        return size

    assert halved_until_it_fits(work, 24) == 3
    assert tried == [24, 12, 6, 3]
    with pytest.raises(ModelError, match="one picture at a time"):
        halved_until_it_fits(lambda size: work(size + 3), 4)


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
