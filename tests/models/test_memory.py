"""The memory that is foretold, beside what is really there."""

import json
from dataclasses import replace
from math import prod
from shutil import copytree
from threading import Event, Thread

import pytest
import torch
from small_families import FAMILIES, PIXELS, save_small_family
from small_run import run, small_config, small_parts

from dgpo_core.assembly import assemble
from dgpo_core.config import from_dict
from dgpo_core.errors import ModelError
from dgpo_core.model_config import ModelConfig
from dgpo_core.models.catalogue import load
from dgpo_core.models.high_water import HighWater
from dgpo_core.models.memory import Memory, memory_of
from dgpo_core.models.protocol import Conditioning
from dgpo_core.preference.saved import PROBE_PROMPT
from dgpo_core.rollout import starting_noise


def really_kept(model):
    """Bytes that one picture's forward keeps for its gradient, its prompt as long as its family's."""
    weights = {weight.untyped_storage()._cdata for weight in model.network.parameters()}
    found = {}

    def keep(tensor):
        if tensor.untyped_storage()._cdata not in weights:
            found[tensor.untyped_storage()._cdata] = tensor
        return tensor

    x = starting_noise([0], model.latent_shape, model.device)
    tokens, width, pooled = model.prompt_shape()
    prompt = Conditioning(torch.randn(1, tokens, width), torch.randn(1, pooled) if pooled else None)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.velocity(x, torch.tensor(0.7), prompt)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("family", ["sd3", *FAMILIES])
def test_what_is_foretold_is_what_is_there(family, model_folder, tmp_path):
    folder = model_folder if family == "sd3" else save_small_family(family, tmp_path / family)
    settings = {"lora_rank": 2, "lora_alpha": 4, "picture_side": 0 if family == "sd3" else PIXELS}
    config = from_dict(
        {
            "model": {"folder": str(folder), **settings},
            "rollout": {"group_size": 3},
            "update": {"micro_batch": 3},
        }
    )
    foretold, model = memory_of(config, folder, torch.float32), load(config.model, seed=0)
    own = sum(one.numel() for one in model.policy_parameters().values())
    frozen = sum(one.numel() for one in model.network.parameters()) - own
    frozen += sum(one.numel() for one in model.network.buffers())
    texts = [part for name, part in model.pipeline.components.items() if name.startswith("text_encoder") and part]
    assert (foretold.weights, foretold.trained) == (4 * frozen, 44 * own)
    assert foretold.text_encoders == 4 * sum(one.numel() for part in texts for one in part.parameters())
    assert foretold.autoencoder == 4 * sum(one.numel() for one in model.pipeline.vae.parameters())
    assert foretold.activations / 3 == pytest.approx(really_kept(model), rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_reckoned(family, tmp_path):
    folder = save_small_family(family, tmp_path / family)
    plain = from_dict({"model": {"picture_side": PIXELS}})
    less = from_dict({"model": {"picture_side": PIXELS, "checkpointing": True, "text_encoders": "offload"}})
    before, after = (memory_of(config, folder, torch.bfloat16) for config in (plain, less))
    assert min(before.weights, before.trained, before.text_encoders, before.activations, before.decoding) > 0
    assert after.text_encoders == 0
    assert after.activations <= 1.2 * before.activations  # of one block, which is computed again
    assert before.in_words().startswith("About 0.")


def test_encoders_that_leave_are_there_while_prompts_are_encoded(model_folder):
    places = [
        from_dict({"model": {"text_encoders": place}, "update": {"micro_batch": 1}}) for place in ("keep", "drop")
    ]
    kept, dropped = (memory_of(config, model_folder, torch.float32) for config in places)
    assert (
        kept.encoding == dropped.encoding == kept.weights + kept.trained // 11 + kept.text_encoders + kept.autoencoder
    )
    assert kept.training - dropped.training == kept.text_encoders
    assert dropped.peak == max(dropped.training, dropped.encoding)


def test_weights_that_are_all_trained_are_reckoned_as_a_gpu_casts_them(model_folder):
    config = from_dict({"model": {"trained": "all_weights"}, "rollout": {"group_size": 4}})
    plain, half = (memory_of(config, model_folder, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.trained == plain.trained > 0
    assert half.weights == plain.weights / 2
    assert half.weights < half.activations < plain.activations


def test_paths_of_a_stochastic_sampler_are_counted(model_folder):
    rollout = {"groups_per_step": 2, "group_size": 4, "num_sampling_steps": 5}
    ode, sde = (
        memory_of(from_dict({"rollout": rollout | {"sampler": sampler}}), model_folder, torch.bfloat16)
        for sampler in ("euler", "flow_sde")
    )
    path = 2 * 4 * (5 + 1) * 4 * prod(load(ModelConfig(folder=str(model_folder)), seed=0).latent_shape)
    assert sde.activations - ode.activations == 2 * path
    assert sde.decoding - ode.decoding == path


def test_what_a_run_may_ask_is_encoded_before_text_encoders_are_dropped(model_folder, tmp_path):
    for name, prompt in (("train", "a ring"), ("heldout", "a square"), ("watch", "a green cross")):
        (tmp_path / f"{name}.txt").write_text(prompt)
    config = from_dict(
        {
            "model": {"folder": str(model_folder), "text_encoders": "drop"},
            "prompts": {name: str(tmp_path / f"{name}.txt") for name in ("train", "heldout", "watch")},
            "reward": {"train": "brightness", "evaluation": "brightness", "watch": "sharpness"},
            "people": {"weight": 1.0},
        }
    )
    parts = assemble(config, tmp_path, people=lambda step: {})
    assert parts.examiner.watch_prompts == ["a green cross"]
    parts.model.encode([*parts.examiner.watch_prompts, PROBE_PROMPT])
    with pytest.raises(ModelError, match="is new"):
        parts.model.encode(["a prompt of nobody"])


def test_words_tell_the_time_of_the_peak_and_what_is_not_counted():
    always = {"weights": 1, "trained": 0, "text_encoders": 0, "autoencoder": 0}
    parts = always | {"drawing": 1, "decoding": 2, "activations": 3}
    billions = {name: number * 10**9 for name, number in parts.items()}
    plain = Memory(**billions, rewards=10**9, uncounted=("ocr", "mine.py:red"))
    assert plain.in_words() == (
        "About 5.0 GB of memory at most: weights 1.00, trained 0.00, text encoders 0.00, autoencoder 0.00, drawing "
        "1.00, decoding 2.00, activations 3.00, rewards 1.00. Not counted, as their size is not known here: ocr, "
        "mine.py:red."
    )
    visiting = [replace(plain, rewards_visit=True, rewards=size * 10**9).peak for size in (1, 3, 6)]
    assert visiting == [4 * 10**9, 4 * 10**9, 7 * 10**9]
    early = Memory(**billions, encoding=9 * 10**9)
    assert early.in_words().startswith(
        "About 9.0 GB of memory at most, while prompts are encoded; 4.0 GB after that: weights 1.00"
    )


def test_an_optional_encoder_that_the_folder_lacks_is_not_counted(model_folder, tmp_path):
    folder = copytree(model_folder, tmp_path / "without-t5")
    index = json.loads((folder / "model_index.json").read_text())
    index["text_encoder_3"] = ["transformers", "T5EncoderModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    lacking, plain = (memory_of(from_dict({}), place, torch.float32) for place in (folder, model_folder))
    assert lacking == plain


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("model_index.json", '{"_class_name": "StableDiffusion3Pipeline", "vae": ["diffusers", "Nonsense"]}'),
        ("transformer/config.json", "{"),
        ("vae/config.json", '{"block_out_channels": "many"}'),
        ("text_encoder/config.json", None),
        ("scheduler/scheduler_config.json", None),
    ],
)
def test_damaged_configurations_are_told_in_a_sentence(part, content, model_folder, tmp_path):
    folder = copytree(model_folder, tmp_path / "damaged")
    (folder / part).unlink() if content is None else (folder / part).write_text(content)
    with pytest.raises(ModelError, match=r"The model in .*damaged cannot be loaded: .+ Restore it"):
        memory_of(from_dict({}), folder, torch.float32)


def test_reckoning_leaves_other_threads_alone(model_folder):
    """A run may be loading its model meanwhile, whose weights must have numbers."""
    done, found = Event(), []

    def make_layers():
        while not done.is_set():
            found.append(torch.nn.Linear(2, 2).weight.is_meta or torch.zeros(2).is_meta)

    thread = Thread(target=make_layers)
    thread.start()
    try:
        memory_of(from_dict({}), model_folder, torch.float32)
    finally:
        done.set()
        thread.join()
    assert len(found) > 10
    assert not any(found)


def test_checkpointing_changes_memory_and_no_gradient(model_folder):
    gradients = []
    for checkpointing in (False, True):
        model = load(ModelConfig(folder=str(model_folder), lora_rank=4, checkpointing=checkpointing), seed=0)
        x = starting_noise([0, 1], model.latent_shape, model.device)
        model.velocity(x, torch.tensor(0.7), model.encode(["a red circle", "two rings"])).square().mean().backward()
        gradients.append([one.grad for one in model.policy_parameters().values() if one.grad is not None])
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("place", "is_there"), [("keep", True), ("offload", True), ("drop", False)])
def test_text_encoders_go_where_they_are_told(model_folder, tmp_path, place, is_there):
    config = small_config(model={"folder": str(model_folder), "text_encoders": place}, schedule={"num_steps": 1})
    model = load(config.model, seed=0)
    parts = small_parts(model, tmp_path, config)
    model.prepare([*parts.train_prompts, *parts.heldout_prompts, ""])
    assert (model.pipeline.text_encoder is not None) == is_there
    run(config, parts)
    if is_there:
        assert len(model.encode(["a new prompt"])) == 1
    else:
        with pytest.raises(ValueError, match=r"'a new prompt' is new, but the text encoders were dropped"):
            model.encode(["a new prompt"])


def test_prompts_that_are_prepared_are_never_all_together_on_the_device(model_folder):
    """With T5 one takes 3 MB, and a set of a thousand would not fit beside the encoders."""
    model = load(ModelConfig(folder=str(model_folder), text_encoders="offload"), seed=0)
    prompts = ["a red circle", "two rings", "three squares"]
    model.prepare(prompts)
    with HighWater() as again:
        model.prepare(prompts)
    with HighWater() as together:
        found = model.encode(prompts)
    assert again.most == 0
    assert together.most >= found.embeddings.nbytes + found.pooled.nbytes > 0


def test_dropping_needs_room_for_all_prompts(model_folder):
    config = ModelConfig(folder=str(model_folder), text_encoders="drop", prompts_remembered=2)
    with pytest.raises(ValueError, match=r"the run has 3 prompts and model.prompts_remembered is 2"):
        load(config, seed=0).prepare(["a ring", "a cross", ""])


def test_prompts_are_remembered_up_to_a_bound(model_folder):
    model = load(ModelConfig(folder=str(model_folder), prompts_remembered=2), seed=0)
    read = []
    model.pipeline.text_encoder.register_forward_hook(lambda *_: read.append(1))
    model.encode(["a ring", "a cross"])
    model.encode(["a ring", "two rings"])
    model.encode(["a ring"])
    assert len(read) == 3
    model.encode(["a cross"])
    assert len(read) == 4


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantizing_without_its_library_names_the_line_that_installs_it(model_folder, quantization):
    from importlib.util import find_spec

    if find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(
        ValueError, match=r"needs the package bitsandbytes. Install it with \.venv/bin/python -m pip install"
    ):
        load(ModelConfig(folder=str(model_folder), quantization=quantization), seed=0)
