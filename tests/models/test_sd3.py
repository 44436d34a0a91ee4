import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file
from small_model import PROMPTS, damaged_copy

from dgpo_core.config import RolloutConfig
from dgpo_core.errors import ModelError
from dgpo_core.models.protocol import Conditioning
from dgpo_core.models.sd3 import SD3Model
from dgpo_core.rollout import draw_latents, starting_noise


@pytest.fixture
def trained(model):
    """The model with a LoRA that is no longer zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy_parameters().values():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def stock(model_folder):
    """The pipeline as anyone would load it, without a LoRA."""
    pipeline = StableDiffusion3Pipeline.from_pretrained(model_folder, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def batch(model, count=4):
    prompts = [PROMPTS[index % len(PROMPTS)] for index in range(count)]
    return starting_noise(range(count), model.latent_shape, model.device), torch.tensor(0.7), model.encode(prompts)


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.pipeline.transformer.named_parameters()}


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_gradient_reaches_exactly_the_lora(trained):
    x, sigma, conditioning = batch(trained)
    trained.velocity(x, sigma, conditioning).square().sum().backward()
    parts = (trained.pipeline.transformer, trained.pipeline.vae)
    parts += (trained.pipeline.text_encoder, trained.pipeline.text_encoder_2)
    reached = {id(one) for part in parts for one in part.parameters() if one.grad is not None}
    lora = trained.policy_parameters()
    # The last block's text side is not read by anything, so its LoRA has no gradient to get.
    unread = {name for name, one in lora.items() if one.grad is None}
    assert reached == {id(one) for name, one in lora.items() if name not in unread}
    assert reached
    assert all("add_q_proj" in name and "transformer_blocks.1." in name for name in unread)


def test_the_lora_is_the_same_for_the_same_seed_and_starts_as_the_base(model_folder, model):
    again, other = (SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=seed) for seed in (0, 1))
    assert same_bits(again.policy_parameters(), model.policy_parameters())
    assert not same_bits(other.policy_parameters(), model.policy_parameters())
    x, sigma, conditioning = batch(model)
    with model.reference():
        base = model.velocity(x, sigma, conditioning)
    torch.testing.assert_close(model.velocity(x, sigma, conditioning), base)


@pytest.fixture(scope="module")
def half(model_folder):
    """The model as a GPU holds it: frozen weights in bfloat16."""
    return SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=0, dtype=torch.bfloat16)


def test_only_a_float32_model_draws_exactly_as_it_trains(half, model):
    assert model.is_exact_when_drawing
    assert not half.is_exact_when_drawing


def test_noise_levels_may_stay_on_the_cpu_when_the_model_is_elsewhere(model_folder):
    elsewhere = SD3Model.load(model_folder, lora_rank=2, lora_alpha=2, seed=0)
    x, sigma, conditioning = batch(elsewhere)
    elsewhere.pipeline.transformer.to("meta")
    there = Conditioning(conditioning.embeddings.to("meta"), conditioning.pooled.to("meta"))
    assert elsewhere.velocity(x.to("meta"), sigma, there).shape == x.shape


def test_drawing_gives_the_velocities_of_the_live_policy(trained):
    x, sigma, conditioning = batch(trained)
    live = trained.velocity(x, sigma, conditioning).detach()
    with trained.drawing():
        drawn = trained.velocity(x, sigma, conditioning)
    assert not drawn.requires_grad
    torch.testing.assert_close(drawn, live, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rank", [4, 16], ids=["beside the weights", "added to the weights"])
def test_velocities_and_gradients_are_those_of_peft_however_the_lora_is_multiplied(model_folder, rank):
    model = SD3Model.load(model_folder, lora_rank=rank, lora_alpha=rank, seed=0)
    parameters = list(model.policy_parameters().values())
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters:
        parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    x, sigma, conditioning = batch(model)
    peft = model.pipeline.transformer(
        hidden_states=x,
        encoder_hidden_states=conditioning.embeddings,
        pooled_projections=conditioning.pooled,
        timestep=1000 * sigma.expand(len(x)),
        return_dict=False,
    )[0]
    own = model.velocity(x, sigma, conditioning)
    torch.testing.assert_close(own, peft, atol=1e-5, rtol=0)
    gradients = [
        torch.autograd.grad(one.square().mean(), parameters, allow_unused=True, materialize_grads=True)
        for one in (own, peft)
    ]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_weights_after_drawing_are_those_before_bit_for_bit(trained, error):
    before, places = weights_of(trained), [one.data_ptr() for one in trained.pipeline.transformer.parameters()]
    with suppress(KeyError, KeyboardInterrupt), trained.drawing():
        trained.velocity(*batch(trained))
        if error:
            raise error
    assert same_bits(weights_of(trained), before)
    assert [one.data_ptr() for one in trained.pipeline.transformer.parameters()] == places
    assert all(one.requires_grad for one in trained.policy_parameters().values())


def test_a_merged_folder_is_a_stock_pipeline_that_draws_as_the_policy(trained, tmp_path):
    trained.save_merged(tmp_path / "merged")
    merged = SD3Model.load(tmp_path / "merged", lora_rank=4, lora_alpha=8, seed=0)
    x, sigma, conditioning = batch(trained)
    policy = trained.velocity(x, sigma, conditioning).detach()
    with torch.no_grad(), merged.reference(), trained.reference():
        found, base = merged.velocity(x, sigma, conditioning), trained.velocity(x, sigma, conditioning)
    torch.testing.assert_close(found, policy, atol=1e-4, rtol=0)
    assert (found - base).abs().max() > 1e-3
    stored = load_file(next((tmp_path / "merged" / "transformer").glob("*.safetensors")))
    assert not any("lora" in name for name in stored)
    configs = [one.read_text() for one in (tmp_path / "merged").rglob("*.json")]
    assert len(configs) > 5
    assert not any(str(trained.pipeline.config._name_or_path) in text for text in configs)


@pytest.mark.parametrize("error", [None, KeyError])
def test_the_reference_is_the_untouched_base_and_training_goes_on_after_it(trained, stock, error):
    x, sigma, conditioning = batch(trained)
    policy = trained.velocity(x, sigma, conditioning).detach()
    with suppress(KeyError), trained.reference():
        reference = trained.velocity(x, sigma, conditioning)
        if error:
            raise error
    base = stock.transformer(
        hidden_states=x,
        encoder_hidden_states=conditioning.embeddings,
        pooled_projections=conditioning.pooled,
        timestep=torch.full((len(x),), 700.0),
        return_dict=False,
    )[0]
    torch.testing.assert_close(reference, base, atol=1e-6, rtol=0)
    assert (policy - base).abs().max() > 0.05
    again = trained.velocity(x, sigma, conditioning)
    assert torch.equal(again, policy)
    assert again.requires_grad
    assert all(one.requires_grad for one in trained.policy_parameters().values())


def test_a_batch_is_the_same_as_one_by_one(trained):
    x, sigma, conditioning = batch(trained, 5)
    together = trained.velocity(x, sigma, conditioning).detach()
    alone = [trained.velocity(x[[i]], sigma, conditioning.select([i])).detach() for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    pictures = trained.decode(together)
    one_by_one = [trained.decode(one)[0] for one in alone]
    np.testing.assert_allclose(np.stack(pictures).astype(int), np.stack(one_by_one).astype(int), atol=1)
    features = torch.cat([trained.features([picture]) for picture in pictures])
    torch.testing.assert_close(trained.features(pictures), features, atol=1e-5, rtol=0)


def test_a_noise_level_per_picture_is_the_same_as_each_alone(trained):
    x, _, conditioning = batch(trained, 2)
    levels = torch.tensor([0.2, 0.9])
    both = trained.velocity(x, levels, conditioning)
    for index, level in enumerate(levels):
        alone = trained.velocity(x[[index]], level, conditioning.select([index]))
        torch.testing.assert_close(both[[index]], alone, atol=1e-5, rtol=0)


def test_encoding_is_that_of_the_stock_pipeline(model, stock):
    mine = model.encode(PROMPTS)
    embeddings, _, pooled, _ = stock.encode_prompt(
        PROMPTS, None, None, do_classifier_free_guidance=False, max_sequence_length=0
    )
    assert mine.embeddings.shape == embeddings.shape
    torch.testing.assert_close(mine.embeddings, embeddings, atol=1e-6, rtol=0)
    torch.testing.assert_close(mine.pooled, pooled, atol=1e-6, rtol=0)


def test_every_distinct_prompt_is_encoded_once(model_folder):
    model = SD3Model.load(model_folder, lora_rank=1, lora_alpha=1, seed=0)
    read = []
    model.pipeline.text_encoder.register_forward_hook(lambda *_: read.append(1))
    first = model.encode(["a ring", "a cross", "a ring"])
    again = model.encode(["a cross", "a ring"])
    assert len(read) == 2
    assert torch.equal(first.embeddings[0], first.embeddings[2])
    assert torch.equal(again.embeddings, first.embeddings[[1, 0]])
    assert torch.equal(again.pooled, first.pooled[[1, 0]])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_sampler_draws_the_picture_of_the_stock_pipeline(model, stock, guidance, shift):
    prompts, num_steps = PROMPTS[:2], 6
    noise = starting_noise([4, 5], model.latent_shape, model.device)
    config = RolloutConfig(num_sampling_steps=num_steps, guidance_scale=guidance, sigma_shift=shift)
    with torch.no_grad():
        latents = draw_latents(model, model.encode(prompts), noise, config, batch=2)
    stock.scheduler = stock.scheduler.from_config(stock.scheduler.config, shift=shift)
    expected = stock(
        prompts,
        latents=noise,
        sigmas=np.linspace(1, 1 / num_steps, num_steps).tolist(),
        guidance_scale=guidance,
        max_sequence_length=0,
        output_type="np",
    ).images
    mine = np.stack(model.decode(latents)) / 255
    assert expected.std() > 0.05
    np.testing.assert_allclose(mine, expected, atol=1 / 255)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m"])
def test_batches_of_a_rollout_do_not_change_it(trained, sampler):
    x, _, conditioning = batch(trained, 5)
    config = RolloutConfig(num_sampling_steps=3, sampler=sampler, guidance_scale=2.0)
    with trained.drawing():
        whole, parts = (draw_latents(trained, conditioning, x, config, batch=size) for size in (5, 2))
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=0)


def test_a_model_that_was_moved_is_still_the_same_model(model, model_folder, tmp_path):
    moved = SD3Model.load(shutil.copytree(model_folder, tmp_path / "elsewhere"), lora_rank=4, lora_alpha=8, seed=5)
    assert moved.identity() == model.identity()


@pytest.mark.parametrize(("rank", "alpha"), [(2, 8), (4, 4)])
def test_another_lora_is_another_model(model, model_folder, rank, alpha):
    assert SD3Model.load(model_folder, lora_rank=rank, lora_alpha=alpha, seed=0).identity() != model.identity()


def test_other_weights_are_another_model(model, model_folder, tmp_path):
    def change_one_number(folder):
        path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        tensors["proj_out.bias"][0] += 1
        save_file(tensors, path)

    other = damaged_copy(model_folder, tmp_path / "other", change_one_number)
    assert SD3Model.load(other, lora_rank=4, lora_alpha=8, seed=0).identity() != model.identity()


def test_the_identity_does_not_change_while_the_lora_trains(trained):
    before = trained.identity()
    with torch.no_grad():
        next(iter(trained.policy_parameters().values())).add_(1)
    with trained.drawing():
        pass
    assert trained.identity() == before


def test_loading_neither_reads_nor_moves_the_global_generator(model_folder, model):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    loaded = SD3Model.load(model_folder, lora_rank=4, lora_alpha=8, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_bits(loaded.policy_parameters(), model.policy_parameters())


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def remove(name):
    return lambda folder: shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()


def cut_short(name):
    def cut(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


def forget_one_tensor(folder):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["proj_out.weight"]
    save_file(tensors, path)


WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
DAMAGE = {
    "no model_index": (remove("model_index.json"), "it has no model_index.json. Name a folder"),
    "index is not JSON": (write("model_index.json", "{"), "is damaged: it is not a JSON object. Restore"),
    "index is a list": (write("model_index.json", "[]"), "is damaged: it is not a JSON object. Restore"),
    "index is binary": (
        lambda folder: (folder / "model_index.json").write_bytes(b"\xff\xfe\x00"),
        "is damaged: it is not a JSON object",
    ),
    "another class": (
        write("model_index.json", json.dumps({"_class_name": "FluxPipeline"})),
        "is a FluxPipeline, and not a StableDiffusion3Pipeline",
    ),
    "an index of nothing": (
        write("model_index.json", json.dumps({"_class_name": "StableDiffusion3Pipeline"})),
        "cannot be loaded",
    ),
    "no transformer folder": (remove("transformer"), "cannot be loaded"),
    "no transformer weights": (remove(WEIGHTS), "cannot be loaded"),
    "truncated weights": (cut_short(WEIGHTS), "cannot be loaded"),
    "empty weights": (write(WEIGHTS, ""), "cannot be loaded"),
    "a tensor is missing": (forget_one_tensor, "1 weights are missing, first proj_out.weight"),
    "transformer config is not JSON": (write("transformer/config.json", "{"), "cannot be loaded"),
    "transformer config is of another class": (
        write("transformer/config.json", json.dumps({"_class_name": "SD3Transformer2DModel", "num_layers": 3})),
        "cannot be loaded",
    ),
    "no autoencoder weights": (remove("vae/diffusion_pytorch_model.safetensors"), "cannot be loaded"),
    "truncated text encoder": (cut_short("text_encoder/model.safetensors"), "cannot be loaded"),
    "no text encoder": (remove("text_encoder_2"), "cannot be loaded"),
    "no tokenizer": (
        remove("tokenizer"),
        "tokenizer has none of tokenizer.json, vocab.json, spiece.model, tokenizer.model",
    ),
    "no vocabulary": (remove("tokenizer_2/tokenizer.json"), "tokenizer_2 has none of tokenizer.json"),
    "no scheduler": (remove("scheduler"), "cannot be loaded"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_folder_is_refused_in_one_sentence(model_folder, tmp_path, name):
    damage, message = DAMAGE[name]
    folder = damaged_copy(model_folder, tmp_path / "damaged", damage)
    with pytest.raises(ModelError, match=message) as refusal:
        SD3Model.load(folder, lora_rank=4, lora_alpha=8, seed=0)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500 + 2 * len(str(folder))


@pytest.mark.parametrize("name", ["nowhere", "x" * 300])
def test_a_missing_model_folder_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match=r"There is no model in .* assets/shapes-sd3"):
        SD3Model.load(tmp_path / name, lora_rank=4, lora_alpha=8, seed=0)


def test_pictures_become_the_latents_that_decode_to_them():
    """The embedded model's autoencoder, whose pictures come back nearly as they went in."""
    from dgpo_core.assembly import load_model
    from dgpo_core.config import RunConfig
    from dgpo_core.data.scenes import Thing, draw

    model = load_model(RunConfig())
    picture = np.round(draw([Thing(shape="circle", color="red", x=30.0, y=30.0, radius=12.0)]) * 255).astype(np.uint8)
    latents = model.encode_pictures([picture, picture])
    assert latents.shape == (2, *model.latent_shape)
    assert picture.shape[:2] == model.picture_size
    (back, _) = model.decode(latents)
    assert np.abs(back.astype(int) - picture.astype(int)).mean() < 3
