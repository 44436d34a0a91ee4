"""Runs on a GPU: what moves in them, what is the same after a break, and what memory they take."""

import gc
from math import isfinite

import pytest
import torch
from mid_size import save_mid_size_pipeline
from small_model import small_autoencoder
from small_run import reset_lora, run, small_config, small_parts

from dgpo_core.checkpoint import load_checkpoint
from dgpo_core.events import StepDone, Warned
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.rollout import starting_noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline of pictures of 256 x 256, whose activations are what memory goes to."""
    vae = small_autoencoder(4, 256, use_quant_conv=False, use_post_quant_conv=False)
    place = tmp_path_factory.mktemp("mid-size")
    return save_mid_size_pipeline(place, vae, width=512, num_layers=8, latent_side=32, device="cuda")


def loaded(folder, **settings):
    return SD3Model.load(folder, seed=0, device="cuda", **{"lora_rank": 4, "lora_alpha": 8} | settings)


def frozen_weights(model):
    """A copy of everything on the GPU that is not to be trained."""
    parts = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    named = [(name, one) for part in parts for name, one in (*part.named_parameters(), *part.named_buffers())]
    return [one.detach().clone() for name, one in named if "lora_" not in name]


def lora_of(model):
    return {name: one.detach().clone() for name, one in model.policy_parameters().items()}


def apart(one, other):
    """Mean distance of two sets of weights by the same names."""
    return torch.cat([(one[name] - other[name]).abs().flatten() for name in one]).mean().item()


def check_one_step(model, tmp_path):
    """One step of a run moves all of the LoRA that is read, nothing else, and leaves no number that is not finite."""
    config = small_config(schedule={"num_steps": 1})
    reset_lora(model)
    frozen, before = frozen_weights(model), lora_of(model)
    _, heard = run(config, small_parts(model, tmp_path, config))
    after = lora_of(model)
    assert all(torch.equal(one, other) for one, other in zip(frozen_weights(model), frozen, strict=True))
    assert {(one.device.type, one.dtype) for one in after.values()} == {("cuda", torch.float32)}
    assert all(one.isfinite().all() for one in after.values())
    last = len(model.network.transformer_blocks) - 1
    still = {name for name in after if torch.equal(before[name], after[name])}
    assert all(f"transformer_blocks.{last}." in name and "add_q_proj" in name for name in still)
    (step,) = heard.of(StepDone)
    assert step.metrics.grad_norm > 0
    assert isfinite(step.metrics.grad_norm)
    assert isfinite(step.metrics.kl)
    assert heard.of(Warned) == []


def test_a_step_in_bfloat16_moves_only_the_lora(model_folder, tmp_path):
    model = loaded(model_folder)
    assert {one.dtype for one in frozen_weights(model) if one.is_floating_point()} == {torch.bfloat16}
    check_one_step(model, tmp_path)


@pytest.mark.parametrize(("quantization", "share"), [("8bit", 0.7), ("4bit", 0.45)])
def test_a_step_over_a_quantized_base_moves_only_the_lora_and_says_nothing(
    folder, tmp_path, quantization, share, caplog
):
    pytest.importorskip("bitsandbytes", reason="needs the package bitsandbytes, which is not installed")
    model, plain = loaded(folder, quantization=quantization), loaded(folder)
    taken, taken_plain = (
        sum(one.nbytes for name, one in each.network.named_parameters() if "lora_" not in name)
        for each in (model, plain)
    )
    assert taken < share * taken_plain
    check_one_step(model, tmp_path)
    assert "bitsandbytes" not in {record.name.partition(".")[0] for record in caplog.records}


def test_a_run_that_is_resumed_learns_what_an_unbroken_one_does(model_folder, tmp_path):
    """Not bit for bit: some kernels add in the order in which their threads come.

    One that came back without Adam's moments is off by 0.6 to 1.1 of what two steps move, measured on a CPU.
    """
    config = small_config(schedule={"num_steps": 4, "checkpoint_every": 1, "checkpoints_kept": 100})
    model = loaded(model_folder)

    def policy_at(place, step):
        saved = load_checkpoint(tmp_path / place / f"step-{step:06d}", model.identity()).tensors
        return {name: one for name, one in saved.items() if name.startswith("policy/")}

    run(config, small_parts(model, tmp_path / "whole", config))
    middle = tmp_path / "whole" / "step-000002"
    _, heard = run(config, small_parts(model, tmp_path / "resumed", config), resume_from=middle)
    assert [event.step for event in heard.of(StepDone)] == [2, 3]
    whole, resumed = policy_at("whole", 4), policy_at("resumed", 4)
    assert apart(whole, resumed) < 0.1 * apart(whole, policy_at("whole", 2))


def test_a_run_that_fills_the_card_halves_its_micro_batch_and_learns_the_same(folder, tmp_path):
    model = loaded(folder, dtype=torch.float32)

    def learned(micro_batch):
        """The weights after a step, the most memory that it took, and what was said."""
        config = small_config(update={"micro_batch": micro_batch}, schedule={"num_steps": 1, "evaluation_prompts": 1})
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        _, heard = run(config, small_parts(model, tmp_path / str(micro_batch), config))
        return lora_of(model), torch.cuda.max_memory_allocated(), [one.message for one in heard.of(Warned)]

    plenty, most, said = learned(8)
    _, little, _ = learned(4)
    assert said == []
    assert most - little > 300e6  # so that the limit between them is well away from both
    total = torch.cuda.get_device_properties(model.device).total_memory
    torch.cuda.set_per_process_memory_fraction((most + little) / 2 / total)
    try:
        cramped, _, said = learned(8)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert said == ["Memory ran out, so update.micro_batch is 4 from now on; nothing is lost."]
    reset_lora(model)
    assert apart(cramped, plenty) < 0.05 * apart(plenty, lora_of(model))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)], ids=["32", "16"])
def test_checkpointing_gives_the_same_gradient_in_less_memory(folder, dtype, tolerance):
    gradients, most = [], []
    for checkpointing in (False, True):
        model = loaded(folder, dtype=dtype, checkpointing=checkpointing)
        reset_lora(model)
        x = starting_noise([0, 1], model.latent_shape, model.device)
        conditioning = model.encode(["a red circle", "two rings"])
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        model.velocity(x, torch.tensor(0.7), conditioning).square().mean().backward()
        most.append(torch.cuda.max_memory_allocated() - before)
        found = [one.grad for one in model.policy_parameters().values() if one.grad is not None]
        gradients.append(torch.cat([one.flatten() for one in found]))
        del model, found
    kept, computed_again = gradients
    assert kept.norm() > 0
    assert (kept - computed_again).norm() < tolerance * kept.norm()
    assert most[1] < most[0] / 2
