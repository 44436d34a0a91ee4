"""Every family of models keeps to one contract, on a small pipeline of its own stock classes."""

import re

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from small_families import FAMILIES, PIXELS, SIDE, save_small_family
from small_run import Listener, run, small_config, small_parts

from app.recipes import load_recipe
from dgpo_core.config import RolloutConfig, from_dict, to_dict
from dgpo_core.errors import ConfigError, ModelError
from dgpo_core.events import EndReason, StepDone
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import load
from dgpo_core.rollout import draw_latents, sampling_sigmas, starting_noise
from dgpo_core.trainer import train
from dgpo_core.updates.catalogue import new_update

PROMPTS = ["a red circle", "two blue squares above a ring"]
NUM_STEPS = 4
pytestmark = [
    pytest.mark.parametrize("family", FAMILIES, indirect=True),
]


@pytest.fixture(scope="module")
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return save_small_family(family, tmp_path_factory.mktemp(family) / family)


@pytest.fixture(scope="module")
def model(folder):
    """The model with a LoRA that is not zero."""
    config = ModelConfig(folder=str(folder), lora_rank=2, lora_alpha=4, picture_side=PIXELS)
    model = load(config, seed=0)
    move(model)
    return model


def move(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy_parameters().values():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
            parameter.grad = None


def batch(model, count=2):
    prompts = [PROMPTS[index % len(PROMPTS)] for index in range(count)]
    return starting_noise(range(count), model.latent_shape, model.device), torch.tensor(0.7), model.encode(prompts)


def test_shapes_and_numbers_are_those_of_the_contract(model):
    x, sigma, conditioning = batch(model)
    assert model.latent_shape[1:] == (SIDE, SIDE)
    assert model.picture_size == (PIXELS, PIXELS)
    velocity = model.velocity(x, sigma, conditioning)
    assert (velocity.shape, velocity.dtype) == (x.shape, torch.float32)
    assert velocity.isfinite().all()
    pictures = model.decode(x)
    assert [(picture.shape, picture.dtype) for picture in pictures] == [((PIXELS, PIXELS, 3), np.uint8)] * 2
    latents = model.encode_pictures(pictures)
    assert (latents.shape, latents.dtype) == (x.shape, torch.float32)
    assert model.features(pictures).shape[0] == 2
    assert 0 < model.sigma_max <= 1


def test_latents_are_scaled_for_the_network_and_back(model):
    """Encoding scales what the autoencoder gives as much as decoding undoes."""
    raw = torch.randn(1, *model.latent_shape)
    autoencoder = model._autoencoder
    torch.testing.assert_close(autoencoder._unscaled(autoencoder._scaled(raw)), raw)


def test_gradient_reaches_exactly_the_lora(model, family):
    move(model)
    x, sigma, conditioning = batch(model)
    model.velocity(x, sigma, conditioning).square().sum().backward()
    parts = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    reached = {id(one) for part in parts for one in part.parameters() if one.grad is not None}
    lora = model.policy_parameters()
    unread = {name for name, one in lora.items() if one.grad is None or not one.grad.any()}
    assert reached <= {id(one) for one in lora.values()}
    assert all(re.search(FAMILIES[family].unread, name) for name in unread)
    move(model)


@pytest.fixture(scope="module")
def half(folder):
    """The model as a GPU holds it: all but its LoRA in bfloat16."""
    config = ModelConfig(folder=str(folder), lora_rank=2, lora_alpha=4, picture_side=PIXELS)
    return load(config, seed=0, dtype=torch.bfloat16)


def velocity_and_gradient(model):
    """At both prompts, and of the LoRA as move() leaves it; one long row of numbers each."""
    move(model)
    lora = model.policy_parameters().values()
    x, sigma, conditioning = batch(model)
    velocity = model.velocity(x, sigma, conditioning)
    gradients = torch.autograd.grad(velocity.square().mean(), lora, allow_unused=True, materialize_grads=True)
    return velocity, torch.cat([one.flatten() for one in gradients])


def test_in_bfloat16_the_lora_is_float32_and_learns_what_it_learns_in_float32(model, half):
    assert half.network.dtype == half.pipeline.vae.dtype == torch.bfloat16
    assert {one.dtype for one in half.policy_parameters().values()} == {torch.float32}
    (rounded, rounded_gradient), (exact, gradient) = velocity_and_gradient(half), velocity_and_gradient(model)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 0.1 * exact.norm()
    assert (rounded_gradient - gradient).norm() < 0.3 * gradient.norm() > 0


def test_the_prompts_side_alone_can_be_trained(family, folder):
    size = {"lora_rank": 2, "lora_alpha": 4, "picture_side": PIXELS}
    config = ModelConfig(folder=str(folder), lora_targets="prompt_layers", **size)
    if family == "z-image":
        with pytest.raises(ModelError, match=r"prompt and picture go through the same layers\. Set it to attention"):
            load(config, seed=0)
        return
    model = load(config, seed=0)
    move(model)
    lora = model.policy_parameters()
    assert all(re.search(r"\.(add_|to_add_out|ff_context|txt_mlp|attn2\.to_[kv])", name) for name in lora)
    x, sigma, conditioning = batch(model)
    model.velocity(x, sigma, conditioning).square().sum().backward()
    assert any(one.grad is not None and one.grad.any() for one in lora.values())


def test_the_reference_is_the_start_and_drawing_is_the_policy(model):
    x, sigma, conditioning = batch(model)
    policy = model.velocity(x, sigma, conditioning).detach()
    with model.reference():
        reference = model.velocity(x, sigma, conditioning).detach()
    with model.drawing():
        drawn = model.velocity(x, sigma, conditioning)
    assert (policy - reference).abs().max() > 1e-3
    torch.testing.assert_close(drawn, policy, atol=1e-4, rtol=1e-3)


def test_a_batch_is_the_same_as_one_by_one(model):
    x, sigma, conditioning = batch(model, 3)
    together = model.velocity(x, sigma, conditioning).detach()
    alone = [model.velocity(x[[i]], sigma, model.encode([PROMPTS[i % 2]])).detach() for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-3)


def test_the_prompt_and_the_noise_level_matter(model):
    x, sigma, conditioning = batch(model)
    one = model.velocity(x, sigma, conditioning)
    for other in (
        model.velocity(x, sigma, conditioning.select([1, 0])),
        model.velocity(x, torch.tensor(0.3), conditioning),
        model.velocity(x, sigma, model.encode(["", ""])),
    ):
        assert (one - other).abs().max() > 1e-4


def draw(model, **changes):
    config = RolloutConfig(num_sampling_steps=NUM_STEPS, sigma_shift=3.0, **changes)
    noise = starting_noise([4, 5], model.latent_shape, model.device)
    with model.drawing():
        latents = draw_latents(model, model.encode(PROMPTS), noise, config, batch=2)
    return latents, np.stack(model.decode(latents)) / 255


def test_guidance_of_one_is_no_guidance(model):
    plain, guided = (draw(model, guidance_scale=scale)[0] for scale in (1.0, 1.000001))
    torch.testing.assert_close(plain, guided, atol=1e-3, rtol=1e-3)
    assert (draw(model, guidance_scale=4.0)[0] - plain).abs().max() > 1e-2


def stock(folder, family):
    """The folder's pipeline as anyone would load it."""
    return DiffusionPipeline.from_pretrained(folder, **dict.fromkeys(FAMILIES[family].absent))


def stock_pictures(pipeline, model, family):
    """What the stock pipeline draws of the same noise on the lab's grid."""
    from dgpo_core.models.packing import packed

    spec, noise = FAMILIES[family], starting_noise([4, 5], model.latent_shape, model.device)
    sigmas = sampling_sigmas(model, RolloutConfig(num_sampling_steps=NUM_STEPS, sigma_shift=3.0))
    pipeline.set_progress_bar_config(disable=True)
    if spec.is_flow:
        pipeline.scheduler = type(pipeline.scheduler).from_config(
            pipeline.scheduler.config, shift=1.0, use_dynamic_shifting=False
        )
        grid = sigmas[:-1].tolist()
    else:
        pipeline.scheduler = EulerDiscreteScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="trailing", clip_sample=False
        )
        grid = (sigmas / (1 - sigmas)).tolist()
    return pipeline(
        list(PROMPTS),  # Z-Image's pipeline writes into the list
        latents=packed(noise) if spec.packs else noise,
        sigmas=grid,
        height=PIXELS,
        width=PIXELS,
        output_type="np",
        **{"guidance_scale": spec.plain_guidance, **dict(spec.call)},
    ).images


def test_a_merged_folder_draws_the_policys_pictures_in_the_stock_pipeline(model, family, tmp_path):
    model.save_merged(tmp_path / "merged")
    pipeline = stock(tmp_path / "merged", family)
    mine = draw(model)[1]
    assert mine.std() > 0.03
    np.testing.assert_allclose(mine, stock_pictures(pipeline, model, family), atol=1.5 / 255)


def test_a_saved_lora_draws_the_policys_pictures_in_the_stock_pipeline(model, family, folder, tmp_path):
    if not FAMILIES[family].has_lora_loader:
        pytest.skip("its pipeline reads no LoRA")
    model.save_lora(tmp_path)
    pipeline = stock(folder, family)
    base = stock_pictures(pipeline, model, family)
    pipeline.load_lora_weights(tmp_path, weight_name="pytorch_lora_weights.safetensors")
    found = stock_pictures(pipeline, model, family)
    assert np.abs(found - base).max() > 4 / 255
    np.testing.assert_allclose(draw(model)[1], found, atol=1.5 / 255)


@pytest.mark.parametrize("micro_batch", [8, 2], ids=["whole groups", "groups in pieces"])
def test_a_whole_step_trains_it(model, tmp_path, micro_batch):
    config = small_config(schedule={"num_steps": 1}, update={"micro_batch": micro_batch})
    before = {name: one.detach().clone() for name, one in model.policy_parameters().items()}
    why, heard = run(config, small_parts(model, tmp_path, config))
    (step,) = heard.of(StepDone)
    assert why == EndReason.FINISHED
    assert step.metrics.grad_norm > 0
    assert np.isfinite(step.metrics.velocity_error)
    assert any(not torch.equal(one, before[name]) for name, one in model.policy_parameters().items())
    move(model)


@pytest.fixture(scope="module")
def whole(folder):
    """The model with all its weights trained, each a little away from where it began."""
    model = load(ModelConfig(folder=str(folder), trained="all_weights", picture_side=PIXELS), seed=0)
    shift(model)
    return model


def shift(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy_parameters().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
            parameter.grad = None


def test_gradient_reaches_all_weights_that_are_read_and_no_others(whole, family):
    x, sigma, conditioning = batch(whole)
    whole.velocity(x, sigma, conditioning).square().sum().backward()
    weights = whole.policy_parameters()
    parts = [part for part in whole.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    reached = {id(one) for part in parts for one in part.parameters() if one.grad is not None}
    unread = {name for name, one in weights.items() if one.grad is None or not one.grad.any()}
    for parameter in weights.values():
        parameter.grad = None
    assert reached <= {id(one) for one in weights.values()}
    assert {name for name in unread if not re.search(FAMILIES[family].never_read, name)} == set()


def test_a_merged_folder_of_all_weights_draws_the_policys_pictures_in_the_stock_pipeline(whole, family, tmp_path):
    whole.save_merged(tmp_path / "merged")
    mine = draw(whole)[1]
    with whole.reference():
        base = draw(whole)[1]
    assert np.abs(mine - base).max() > 4 / 255
    found = stock_pictures(stock(tmp_path / "merged", family), whole, family)
    np.testing.assert_allclose(mine, found, atol=1.5 / 255)


def test_a_whole_step_trains_all_weights(whole, tmp_path):
    config = small_config(
        model={"trained": "all_weights"}, schedule={"num_steps": 1}, update={"micro_batch": 8, "learning_rate": 1e-4}
    )
    before = {name: one.detach().clone() for name, one in whole.policy_parameters().items()}
    parts, heard = small_parts(whole, tmp_path, config), Listener()
    why = train(config, parts, emit=heard.events.append, next_command=heard.next_command)
    (step,) = heard.of(StepDone)
    moved = {name for name, one in whole.policy_parameters().items() if not torch.equal(one, before[name])}
    assert why == EndReason.FINISHED
    assert step.metrics.grad_norm > 0
    assert np.isfinite(step.metrics.velocity_error)
    assert len(moved) > 0.5 * len(before)


def test_its_recipe_trains_it(family, folder, tmp_path):
    """All settings of the recipe but what makes it large."""
    values = to_dict(load_recipe(FAMILIES[family].recipe))
    values["model"] |= {"folder": str(folder), "lora_rank": 2, "lora_alpha": 4, "picture_side": PIXELS}
    values["reward"] |= {"train": "brightness", "evaluation": "brightness"}
    values["rollout"] |= {"groups_per_step": 1, "group_size": 3, "num_sampling_steps": 4}
    values["schedule"] |= {"num_steps": 1, "evaluate_every": 0, "evaluation_prompts": 2}
    values["loss"] |= {"num_sigmas": 2}
    config = from_dict(values)
    model = load(config.model, seed=0)
    parts = small_parts(model, tmp_path, config)
    model.prepare([*parts.train_prompts, *parts.heldout_prompts, ""])
    why, heard = run(config, parts)
    (step,) = heard.of(StepDone)
    assert why == EndReason.FINISHED
    assert step.metrics.grad_norm > 0
    assert config.loss.sigma_min < model.sigma_max


@pytest.mark.parametrize("algorithm", ["dgpo", "flow_grpo"])
def test_noise_levels_that_the_network_does_not_know_are_refused_before_anything_is_drawn(model, algorithm):
    rollout = {"sampler": "flow_sde" if algorithm == "flow_grpo" else "euler", "num_sampling_steps": 4}
    config = small_config(algorithm={"name": algorithm}, rollout=rollout, loss={"num_sigmas": 1, "sigma_min": 0.99})
    if model.sigma_max >= 0.99:
        pytest.skip("it knows these")
    with pytest.raises(ConfigError, match=r"loss\.(sigma_min is|num_sigmas is 1, but only 0 of the 4)"):
        new_update(model, config, before_part=lambda: None)
