"""What is said of models that cannot be had. The Hub is a server of this file's own, at an address of this machine."""

import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_families import save_small_family
from small_hub import ask_instead

from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import FAMILIES, load
from dgpo_core.models.source import fetched, found

ANSWERS = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound"), "bare": (404, "EntryNotFound")}


@pytest.fixture(scope="module")
def hub():
    """The address of what answers as the Hub does: by the name of the repository."""

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
def test_a_repository_that_cannot_be_had_is_said_in_one_sentence(hub, name, words, tmp_path, monkeypatch):
    ask_instead(monkeypatch, hub, tmp_path)
    with pytest.raises(ModelError, match=words) as refusal:
        fetched(name)
    assert "\n" not in str(refusal.value)


def test_without_a_network_the_way_out_is_said(tmp_path, monkeypatch):
    ask_instead(monkeypatch, "http://127.0.0.1:9", tmp_path)
    words = r"neither a folder here nor fetched before as a whole, and the Hub cannot be reached: .* Connect to"
    with pytest.raises(ModelError, match=words):
        fetched("owner/model")


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
