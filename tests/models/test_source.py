"""What is said of models that cannot be had. The Hub is a server of this file's own, at an address of this machine."""

import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_families import save_small_family

from dgpo_core.config import RunConfig
from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import FAMILIES, load
from dgpo_core.models.source import fetched, found
from dgpo_core.recipe_check import cautions

ANSWERS = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound"), "bare": (404, "EntryNotFound")}


@pytest.fixture(scope="module")
def hub():
    """Answers as the Hub does: by the name of the repository."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            status, code = next(answer for name, answer in ANSWERS.items() if name in self.path)
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("owner/gated-model", r"is gated: .* Accept them on its page, log in here with the command hf auth login"),
        ("owner/missing-model", "There is no model owner/missing-model: no folder of that name is here"),
        ("owner/bare-model", r"holds no diffusers pipeline: it has no model_index.json"),
    ],
)
def test_a_repository_that_cannot_be_had_is_said_in_one_sentence(hub, name, words):
    with pytest.raises(ModelError, match=words) as refusal:
        fetched(name, endpoint=hub)
    assert "\n" not in str(refusal.value)


def test_without_a_network_the_way_out_is_said(monkeypatch):
    waits = []  # the Hub's library tries again five times; here it does not sleep in between
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=waits.append))
    with pytest.raises(ModelError, match=r"neither a folder here nor fetched before, and the Hub cannot be reached"):
        fetched("owner/model", endpoint="http://127.0.0.1:9")
    assert waits


def test_folders_come_before_the_hub(tmp_path):
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert found("owner/model", tmp_path) == tmp_path / "owner" / "model"
    assert str(found(str(tmp_path / "nowhere"), tmp_path)).endswith("nowhere")


def test_another_kind_of_model_is_refused_with_what_can_be_trained(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "video")
    (folder / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    with pytest.raises(ModelError, match=r"is a WanPipeline; what can be trained is StableDiffusion3Pipeline, .*Flux"):
        load(ModelConfig(folder=str(folder)), seed=0)
    assert len(FAMILIES) == 8


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_pickled_weights_are_refused(model_folder, tmp_path, part):
    folder = shutil.copytree(model_folder, tmp_path / "pickled")
    weights = next((folder / part).glob("*.safetensors"))
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelError, match=rf"has its {part} as a pickle, which could run any program"):
        load(ModelConfig(folder=str(folder)), seed=0)


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory):
    return save_small_family("sd", tmp_path_factory.mktemp("sd") / "sd")


def test_one_file_of_weights_takes_the_rest_from_a_folder(model_folder, tmp_path):
    weights = load_file(model_folder / "transformer" / "diffusion_pytorch_model.safetensors")
    weights["proj_out.bias"] += 1
    save_file(weights, tmp_path / "mine.safetensors")
    config = ModelConfig(folder=str(tmp_path / "mine.safetensors"), parts_from=str(model_folder), lora_rank=2)
    mine, base = load(config, seed=0), load(ModelConfig(folder=str(model_folder), lora_rank=2), seed=0)
    torch.testing.assert_close(
        mine.pipeline.transformer.proj_out.bias, base.pipeline.transformer.proj_out.bias + 1, atol=1e-6, rtol=0
    )


def test_one_file_needs_to_be_told_where_its_parts_are(tmp_path):
    save_file({"one": torch.zeros(1)}, tmp_path / "mine.safetensors")
    with pytest.raises(ModelError, match=r"is one file, .* Set model.parts_from"):
        load(ModelConfig(folder=str(tmp_path / "mine.safetensors")), seed=0)


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("lora.safetensors", {"x.lora_A.weight": torch.zeros(1)}, "is a LoRA and not a whole model"),
        ("other.safetensors", {"another.weight": torch.zeros(1)}, "cannot be loaded"),
        ("model.ckpt", None, "is not a safetensors file. Other files may be pickles"),
        ("torn.safetensors", None, "cannot be loaded"),
    ],
)
def test_a_file_of_something_else_is_refused(model_folder, tmp_path, name, weights, words):
    if weights is None:
        (tmp_path / name).write_bytes(b"\x80\x04")
    else:
        save_file(weights, tmp_path / name)
    with pytest.raises(ModelError, match=words) as refusal:
        load(ModelConfig(folder=str(tmp_path / name), parts_from=str(model_folder)), seed=0)
    assert "\n" not in str(refusal.value)


def test_a_scheduler_that_says_nothing_of_noise_is_refused(sd_folder, tmp_path):
    folder = shutil.copytree(sd_folder, tmp_path / "sample")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"sample"'))
    with pytest.raises(ModelError, match="predictions of kind sample; only epsilon and v_prediction on"):
        load(ModelConfig(folder=str(folder)), seed=0)


@pytest.mark.parametrize(
    ("side", "words"),
    [(30, "multiples of 8 up to 32 pixels. Set it to 32"), (64, "multiples of 8 up to 32 pixels. Set it to 32")],
)
def test_a_size_that_the_model_cannot_draw_is_refused(model_folder, side, words):
    with pytest.raises(ModelError, match=words):
        load(ModelConfig(folder=str(model_folder), picture_side=side), seed=0)


@pytest.mark.parametrize(
    ("name", "is_few_step"),
    [
        ("stabilityai/stable-diffusion-3.5-large-turbo", True),
        ("black-forest-labs/FLUX.1-schnell", True),
        ("models/Sana_Sprint_1.6B", True),
        ("ByteDance/SDXL-Lightning", True),
        ("stabilityai/stable-diffusion-3.5-medium", False),
        ("black-forest-labs/FLUX.1-dev", False),
        ("turbo-lab/stable-diffusion", False),
        ("black-forest-labs/FLUX.2-klein-4B", True),
        ("black-forest-labs/FLUX.2-klein-base-4B", False),
        ("stable-diffusion-xl-base-1.0-lightning", True),
        ("nyanko7/flux-dev-de-distilled", False),
    ],
)
def test_few_step_bases_are_recognised_by_their_name(name, is_few_step):
    config = RunConfig(model=ModelConfig(folder=name))
    assert any("distilled to draw in a few steps" in words for words in cautions(config)) == is_few_step


def test_a_flux_that_is_told_no_guidance_is_recognised_by_its_configuration(tmp_path):
    folder = save_small_family("flux", tmp_path / "mine")

    def words_of(**settings):
        return [words for words in cautions(RunConfig(model=ModelConfig(**settings))) if "in a few steps" in words]

    assert words_of(folder=str(folder)) == []
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"guidance_embeds": true', '"guidance_embeds": false'))
    expected = [
        f"The FLUX.1 in {folder} is told no guidance, as FLUX.1-schnell, which was distilled to draw in a few steps. A "
        "loss on noisy pictures undoes the distillation: pictures blur within some hundred steps. Choose FLUX.1-dev, "
        "unless this one's distillation was undone already."
    ]
    assert words_of(folder=str(folder)) == expected
    assert words_of(folder="mine.safetensors", parts_from=str(folder)) == expected
    config.write_text("[")
    assert words_of(folder=str(folder)) == []
