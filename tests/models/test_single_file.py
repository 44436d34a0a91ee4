"""A file in its authors' layout is the model that it was made of; nothing is asked of a network."""

import json
import shutil
from types import FunctionType

import numpy as np
import pytest
import torch
from authors_layout import flux_file, qwen_image_file, sana_file, sd3_file, sd_file, sdxl_file, z_image_file
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from safetensors.torch import load_file, save_file
from small_families import PIXELS, save_small_family

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import load
from dgpo_core.rollout import starting_noise

PROMPTS = ["a red circle", "two blue squares above a ring"]
FILES = {
    "sd": (sd_file, ("unet", "vae", "text_encoder")),
    "sdxl": (sdxl_file, ("unet", "vae", "text_encoder", "text_encoder_2")),
    "sd35m": (sd3_file, ("transformer", "vae")),
    "flux": (flux_file, ("transformer",)),
    "z-image": (z_image_file, ("transformer",)),
    "sana": (sana_file, ("transformer",)),
    "qwen-image": (qwen_image_file, ("transformer",)),
}
"""How a family's file is made, and the parts that it holds."""


@pytest.fixture(scope="module", params=FILES)
def family(request):
    return request.param


FLUX_WIDTH, SMALL_FLUX_WIDTH = 3072, 32


@pytest.fixture(scope="module", autouse=True)
def small_flux():
    """Diffusers' converter knows the width of the real FLUX.1 alone; here it is told that of the small one."""
    kept = SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    code = kept["checkpoint_mapping_fn"].__code__
    widths = tuple(SMALL_FLUX_WIDTH if one == FLUX_WIDTH else one for one in code.co_consts)
    assert widths != code.co_consts
    converter = FunctionType(code.replace(co_consts=widths), kept["checkpoint_mapping_fn"].__globals__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            SINGLE_FILE_LOADABLE_CLASSES, "FluxTransformer2DModel", kept | {"checkpoint_mapping_fn": converter}
        )
        yield


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    """The model that the file is made of."""
    return save_small_family(family, tmp_path_factory.mktemp(family) / family)


@pytest.fixture(scope="module")
def base(family, folder, tmp_path_factory):
    """Another model of the same kind: other numbers in the parts that the file holds."""
    base = shutil.copytree(folder, tmp_path_factory.mktemp("base") / "base")
    generator = torch.Generator().manual_seed(1)
    for part in FILES[family][1]:
        (path,) = (base / part).glob("*.safetensors")
        weights = load_file(path)
        moved = {name: one + 0.1 * torch.randn(one.shape, generator=generator) for name, one in weights.items()}
        save_file(moved, path, metadata={"format": "pt"})
    return base


@pytest.fixture(scope="module")
def weights(family, folder):
    return FILES[family][0](folder)


def loaded(folder, base="", **settings):
    config = ModelConfig(folder=str(folder), parts_from=str(base), lora_rank=2, picture_side=PIXELS, **settings)
    return load(config, seed=0)


def answers(model):
    """Prompts as it reads them, velocities, pictures and latents."""
    noise = starting_noise([0, 1], model.latent_shape, model.device)
    conditioning = model.encode(PROMPTS)
    with torch.no_grad():
        velocity = model.velocity(noise, torch.tensor(0.7), conditioning)
    pictures = np.stack(model.decode(noise))
    return conditioning.embeddings, velocity, pictures, model.encode_pictures(list(pictures))


def test_a_file_in_its_authors_layout_is_the_model_that_it_was_made_of(family, weights, folder, base, tmp_path):
    save_file(weights, tmp_path / "authors.safetensors")
    found, expected, other = (
        answers(one) for one in (loaded(tmp_path / "authors.safetensors", base), loaded(folder), loaded(base))
    )
    for mine, true in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, true, atol=1e-5)
    moved = slice(1, None if "vae" in FILES[family][1] else 2)
    pairs = zip(other[moved], expected[moved], strict=True)
    assert not any(np.allclose(theirs, true, atol=1e-2) for theirs, true in pairs)


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd35m"], indirect=True)
def test_what_the_file_lacks_is_the_bases(weights, folder, base, tmp_path):
    """The network alone, and a base that names parts which it has not and which the lab does not load."""
    index = json.loads((base / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index |= {"feature_extractor": ["transformers", "CLIPImageProcessor"]}
    (shutil.copytree(base, tmp_path / "base") / "model_index.json").write_text(json.dumps(index))
    network = {name: one for name, one in weights.items() if name.startswith("model.diffusion_model.")}
    save_file(network, tmp_path / "network.safetensors")
    mine, true, other = loaded(tmp_path / "network.safetensors", tmp_path / "base"), loaded(folder), loaded(base)
    assert same(mine.network, true.network)
    assert not same(mine.network, other.network)
    parts = {name: one for name, one in other.pipeline.components.items() if isinstance(one, torch.nn.Module)}
    assert all(same(getattr(mine.pipeline, name), one) for name, one in parts.items() if one is not other.network)


def same(one, other):
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("family", "lacking", "words"),
    [
        ("sd", "model.diffusion_model.", "its weights are not those of UNet2DConditionModel"),
        ("sd", "model.diffusion_model.input_blocks.1.", "some of its weights are missing"),
        ("sd", "first_stage_model.decoder.conv_out", "some of its weights are missing"),
        ("sd", "cond_stage_model.transformer.text_model.final", "2 weights are missing, first .*final_layer_norm"),
        ("sdxl", "conditioner.embedders.1.model.ln_final", "2 weights are missing, first .*final_layer_norm"),
        ("sd35m", "model.diffusion_model.", "its weights are not those of SD3Transformer2DModel"),
        ("sd35m", "model.diffusion_model.joint_blocks.1.x_block.mlp", "its weights are not those of SD3Transformer2D"),
        ("flux", "double_blocks.0.img_mlp", "its weights are not those of FluxTransformer2DModel"),
        ("z-image", "model.diffusion_model.layers.0.feed_forward", "some of its weights are missing"),
        ("sana", "blocks.0.mlp", "its weights are not those of SanaTransformer2DModel"),
        ("qwen-image", "model.diffusion_model.img_in", "do not have the names that QwenImageTransformer2DModel has"),
    ],
    indirect=["family"],
)
def test_a_file_that_lacks_weights_is_refused_in_one_sentence(weights, base, tmp_path, lacking, words):
    left = {name: one for name, one in weights.items() if not name.startswith(lacking)}
    assert len(left) < len(weights)
    save_file(left, tmp_path / "torn.safetensors")
    with pytest.raises(ModelError, match=words) as refusal:
        loaded(tmp_path / "torn.safetensors", base)
    assert str(tmp_path / "torn.safetensors") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_pixart_in_its_authors_layout_is_refused_with_what_can_be_given_instead(tmp_path):
    """Diffusers converts none; the names are those of its authors' file."""
    base = save_small_family("pixart", tmp_path / "pixart")
    save_file(
        {"x_embedder.proj.weight": torch.zeros(1), "blocks.0.mlp.fc1.weight": torch.zeros(1)},
        tmp_path / "p.safetensors",
    )
    words = "names that PixArtTransformer2DModel has in diffusers.* Name a file that has them, or a diffusers folder"
    with pytest.raises(ModelError, match=words):
        loaded(tmp_path / "p.safetensors", base)


def test_a_file_of_another_kind_than_the_base_is_refused(model_folder, tmp_path):
    sd = save_small_family("sd", tmp_path / "sd")
    save_file(sd_file(sd), tmp_path / "sd.safetensors")
    with pytest.raises(ModelError, match=r"sd\.safetensors cannot be loaded") as refusal:
        loaded(tmp_path / "sd.safetensors", model_folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_one_file_is_not_quantized(model_folder, tmp_path, quantization):
    network = model_folder / "transformer" / "diffusion_pytorch_model.safetensors"
    shutil.copyfile(network, tmp_path / "mine.safetensors")
    words = (
        rf"model.quantization is {quantization}, but .*mine.safetensors is one file.* Set model.quantization to none"
    )
    with pytest.raises(ModelError, match=words):
        loaded(tmp_path / "mine.safetensors", model_folder, quantization=quantization)
