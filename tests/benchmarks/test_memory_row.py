"""What the measurement on a GPU rests on, checked without one."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from benchmarks import record, report
from benchmarks.memory import NO_GPU, STEPS, main, row, settings
from benchmarks.report import PAGE, filled, memory
from benchmarks.sd35_medium import (
    CLIP_TOKENS,
    PUBLISHED_NUMBERS,
    T5_WIDTH,
    random_pipeline,
    save_configurations,
    text_parts,
)
from dgpo_core.models.memory import Memory
from dgpo_core.models.sd3 import T5_LENGTH, SD3Model

GIGABYTES = {"weights": 5, "trained": 2, "text_encoders": 0, "autoencoder": 1, "drawing": 4, "decoding": 3}
FORETOLD = Memory(**{name: value * 10**9 for name, value in GIGABYTES.items()}, activations=2 * 10**9)
TAKEN = {"allocated": 10 * 10**9, "reserved": 11 * 10**9}
SECONDS = {"step": 100.0, "sampling": 60.0, "decoding": 4.0, "updating": 35.5}


@pytest.fixture(scope="module")
def pipeline():
    return random_pipeline("meta", torch.bfloat16)


def result(**changes):
    config = settings("sd35m-pickscore-mode-1", [])
    seen = {"card": "Some Card", "numbers": PUBLISHED_NUMBERS, "warnings": []}
    about = {"command": "python -m benchmarks.memory", "commit": "abc", "made": "today", "machine": "one"}
    return about | row(config, FORETOLD, TAKEN, SECONDS) | seen | changes


def test_the_network_has_the_published_size(pipeline):
    numbers = sum(one.numel() for one in pipeline.transformer.parameters())
    positions = sum(one.numel() for one in pipeline.transformer.buffers())
    assert numbers == PUBLISHED_NUMBERS
    assert round((numbers + positions) / 1e9, 1) == 2.5
    assert round(sum(one.numel() for one in pipeline.vae.parameters()) / 1e6, 1) == 83.8


def test_nothing_is_made_in_another_precision_or_place(pipeline):
    for part in (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_3):
        assert {(one.device.type, one.dtype) for one in part.parameters()} == {("meta", torch.bfloat16)}
    assert torch.get_default_dtype() == torch.float32


def test_prompts_have_the_shape_that_the_network_reads(pipeline):
    clips = (pipeline.text_encoder, pipeline.text_encoder_2)
    assert sum(one.config.projection_dim for one in clips) == pipeline.transformer.config.pooled_projection_dim
    assert sum(one.config.hidden_size for one in clips) <= pipeline.text_encoder_3.config.d_model == T5_WIDTH
    assert pipeline.transformer.config.joint_attention_dim == T5_WIDTH
    config = settings("sd35m-pickscore-mode-1", ["model.lora_rank=1", "model.lora_targets=attention"]).model
    model = SD3Model(pipeline, config, seed=0)
    assert model.prompt_shape() == (CLIP_TOKENS + T5_LENGTH, T5_WIDTH, 2048)
    assert model.latent_shape == (16, 64, 64)


def test_a_prompt_of_the_recipe_is_encoded_in_that_shape(pipeline):
    parts = text_parts("cpu", torch.bfloat16)
    whole = StableDiffusion3Pipeline(
        transformer=pipeline.transformer, vae=pipeline.vae, scheduler=pipeline.scheduler, **parts
    )
    prompt = "a photo of a toothbrush, and a green tennis racket: 8 of them"
    embeddings, _, pooled, _ = whole.encode_prompt(
        prompt, None, None, device="cpu", do_classifier_free_guidance=False, max_sequence_length=T5_LENGTH
    )
    assert embeddings.shape == (1, CLIP_TOKENS + T5_LENGTH, T5_WIDTH)
    assert pooled.shape == (1, 2048)
    assert {embeddings.dtype, pooled.dtype} == {torch.bfloat16}
    assert embeddings.isfinite().all()


def test_the_folder_that_is_reckoned_from_holds_no_weights(tmp_path):
    save_configurations(tmp_path)
    assert (tmp_path / "model_index.json").exists()
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".json"}


def test_the_recipe_is_changed_in_nothing_that_memory_depends_on():
    from app.recipes import load_recipe

    changed, shipped = settings("sd35m-pickscore-mode-1", []), load_recipe("sd35m-pickscore-mode-1")
    assert (changed.model, changed.rollout, changed.loss, changed.update) == (
        shipped.model,
        shipped.rollout,
        shipped.loss,
        shipped.update,
    )
    assert changed.schedule.num_steps == STEPS == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_one_sentence_says_what_is_needed(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert main([]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{NO_GPU}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_row_says_how_far_the_estimate_is_off():
    kept = result()
    assert FORETOLD.peak == 12 * 10**9
    assert kept["error"] == pytest.approx(0.2)
    assert (kept["pictures_per_step"], kept["micro_batch"], kept["picture_side"]) == (192, 8, 512)
    written = memory(kept)
    assert "| foretold too much | +20.0% |" in written
    assert "| drawing | 4.00 |" in written
    assert "| of these drawing, decoding, updating | 60.0, 4.0, 35.5 |" in written
    assert "2.24 billion random weights" in written
    assert "Memory ran out" in memory(result(warnings=["Memory ran out, so ...", "Memory ran out, so ..."]))


def test_the_page_speaks_of_memory_once_it_was_measured_and_not_before(monkeypatch):
    page = PAGE.read_text(encoding="utf-8")
    before, _, _ = page.partition("\n## Memory\n")
    monkeypatch.setattr(report, "kept", lambda name: None)
    assert "<!-- memory -->" not in filled(before)
    monkeypatch.setattr(report, "kept", lambda name: result() if name == "memory" else None)
    written = filled(before)
    assert "## Memory" in written
    assert "`python -m benchmarks.memory`, commit abc" in written
    assert filled(written) == written
