"""A trained model on its way out of the lab, from real runs of the small model."""

import json
import re
import shutil
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from lab_folder import PATIENCE_SECONDS, is_training, lab_config, opened, wait_for
from small_families import save_small_family
from small_model import PROMPTS

from app.saved_models import LORA_FILE, Form, saved_models
from app.saving import CUT_SHORT, save_model, saved_in_words, wish_of
from app.settings import Settings
from app.store.reader import Reader
from app.store.rows import RunState
from app.store.writer import Writer
from dgpo_core.assembly import load_model
from dgpo_core.checkpoint import load_checkpoint
from dgpo_core.comparison import averaged_weights
from dgpo_core.config import RolloutConfig, from_dict, to_dict
from dgpo_core.errors import CheckpointError, ExchangeError, ModelError, StoreError
from dgpo_core.events import CheckpointSaved, SaveNow
from dgpo_core.rollout import draw_latents, starting_noise
from dgpo_core.training_state import TrainingState

LORA, WHOLE, WITHOUT_ENCODERS, PIXART = 1, 2, 3, 4
NUM_STEPS = 4
SEEDS = [4, 5]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model_folder):
    """The folder of a lab with runs of a LoRA, of all weights, without text encoders, of a pipeline without LoRA."""
    folder = tmp_path_factory.mktemp("trained")
    far = {"learning_rate": 0.1}
    runs = (
        (model_folder, {"update": far}),
        (model_folder, {"model": {"trained": "all_weights"}, "update": {"learning_rate": 1e-2}}),
        (model_folder, {"model": {"text_encoders": "drop"}, "update": far}),
        (save_small_family("pixart", folder / "pixart"), {}),
    )
    with opened(folder) as (runner, reader):
        for base, changes in runs:
            runner.start(lab_config(folder, base, **changes))
            assert runner.wait(PATIENCE_SECONDS)
        assert [run.state for run in reader.runs()] == [RunState.FINISHED] * len(runs)
    return folder


@pytest.fixture
def reader(trained):
    with opened(trained) as (_, reader):
        yield reader


@pytest.fixture
def checkpoints(trained):
    return Settings(folder=trained).checkpoints


@pytest.fixture
def save(reader, checkpoints, tmp_path):
    """Saves a run's model; its folder, and what is said of it."""

    def saved(run_id, *, step=None, as_lora=False):
        into = tmp_path / f"saved-{run_id}-{as_lora}"
        wish = wish_of(reader, run_id, step, as_lora=as_lora)
        save_model(wish, checkpoints(run_id), into)
        return into, saved_in_words(wish, into)

    return saved


def grid(model):
    return RolloutConfig(num_sampling_steps=NUM_STEPS, sigma_shift=1.0), starting_noise(
        SEEDS, model.latent_shape, model.device
    )


def own_pictures(run, checkpoints, step):
    """What the averaged policy of a checkpoint draws in the lab, what its policy draws, and what its base does."""
    config = from_dict(run.config | {"model": run.config["model"] | {"text_encoders": "keep"}})
    model = load_model(config)
    rollout, noise = grid(model)
    parameters = model.policy_parameters()

    def drawn():
        with model.drawing():
            latents = draw_latents(model, model.encode(PROMPTS[:2]), noise, rollout, batch=2)
        return np.stack(model.decode(latents)) / 255

    base = drawn()
    state = TrainingState(parameters, config.update)
    state.load(load_checkpoint(checkpoints / f"step-{step:06d}", model.identity()).tensors, step)
    policy = drawn()
    with averaged_weights(checkpoints, step, model).swapped_in(parameters):
        return drawn(), policy, base


def stock_pictures(pipeline):
    """What a stock pipeline draws of the same noise on the same grid."""
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.transformer.config
    noise = starting_noise(SEEDS, (config.in_channels, config.sample_size, config.sample_size), torch.device("cpu"))
    levels = np.linspace(1, 0, NUM_STEPS + 1)[:-1].tolist()
    side = 8 * config.sample_size
    size = {"height": side, "width": side, "max_sequence_length": 0}
    return pipeline(PROMPTS[:2], latents=noise, sigmas=levels, guidance_scale=1.0, output_type="np", **size).images


def as_told(words, **known):
    """What the Python in the words gives."""
    code = re.search(r"In Python, (.+\)) ", words)[1]
    return eval(code, {"DiffusionPipeline": DiffusionPipeline} | known)


@pytest.mark.parametrize("run_id", [LORA, WHOLE, WITHOUT_ENCODERS])
@pytest.mark.parametrize("step", [None, 1])
def test_a_saved_pipeline_draws_the_averaged_policys_pictures_in_the_stock_pipeline(
    save, reader, checkpoints, run_id, step
):
    averaged, policy, base = own_pictures(reader.run(run_id), checkpoints(run_id), step or 2)
    assert min(np.abs(averaged - base).max(), np.abs(averaged - policy).max()) > 4 / 255
    words = save(run_id, step=step)[1]
    assert words.endswith("; draw with max_sequence_length=0, as the lab does without T5.")
    found = stock_pictures(as_told(words))
    np.testing.assert_allclose(found, averaged, atol=1.5 / 255)


def test_a_saved_lora_draws_the_averaged_policys_pictures_on_the_stock_base(save, reader, checkpoints, model_folder):
    averaged, _, base = own_pictures(reader.run(LORA), checkpoints(LORA), 2)
    pipeline = DiffusionPipeline.from_pretrained(model_folder, text_encoder_3=None, tokenizer_3=None)
    folder, words = save(LORA, as_lora=True)
    np.testing.assert_allclose(stock_pictures(pipeline), base, atol=1.5 / 255)
    as_told(words, pipeline=pipeline)
    np.testing.assert_allclose(stock_pictures(pipeline), averaged, atol=1.5 / 255)
    assert [one.name for one in folder.iterdir()] == [LORA_FILE]


def test_a_run_is_saved_while_another_one_trains(trained, checkpoints, model_folder, tmp_path):
    config = lab_config(trained, model_folder, schedule={"num_steps": 100_000, "checkpoints_kept": 1})
    with opened(trained) as (runner, reader):
        run_id = runner.start(config)
        wait_for(lambda: reader.checkpoints(run_id))
        save_model(wish_of(reader, LORA, None, as_lora=True), checkpoints(LORA), tmp_path / "other")
        step = reader.latest_step(run_id)
        wait_for(lambda: reader.latest_step(run_id) > step)
        assert reader.run(run_id).state is RunState.RUNNING
    assert (tmp_path / "other" / LORA_FILE).exists()
    with opened(trained) as (runner, _):
        runner.delete(run_id)


@pytest.mark.parametrize(
    ("run_id", "step", "as_lora", "message"),
    [
        (77, None, False, "There is no run 77. Known: 1, 2, 3, 4."),
        (LORA, 9, False, "Run 1 has no checkpoint of step 9, and only the newest are kept. Choose one of 1, 2."),
        (WHOLE, None, True, "Run 2 trained all weights, so it has no LoRA. Save the whole pipeline instead."),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_loaded(reader, run_id, step, as_lora, message):
    with pytest.raises(ExchangeError) as refusal:
        wish_of(reader, run_id, step, as_lora=as_lora)
    assert str(refusal.value) == message


def test_a_run_without_checkpoints_has_no_model_to_save(tmp_path, model_folder):
    values = to_dict(lab_config(tmp_path, model_folder))
    with Writer(tmp_path / "lab.db") as writer, closing(Reader(tmp_path / "lab.db")) as reader:
        run_id = writer.create_run(values, 2)
        with pytest.raises(ExchangeError, match="Run 1 has no checkpoint to save a model from"):
            wish_of(reader, run_id, None, as_lora=False)


def test_what_is_there_already_is_left_as_it_is(reader, checkpoints, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("keep me")
    with pytest.raises(ExchangeError) as refusal:
        save_model(wish_of(reader, LORA, None, as_lora=False), checkpoints(LORA), tmp_path / "mine")
    assert str(refusal.value) == f"{tmp_path / 'mine'} is there already. Name a folder that is not."
    assert [one.read_text() for one in (tmp_path / "mine").iterdir()] == ["keep me"]


def test_a_pipeline_that_reads_no_lora_gets_none(reader, checkpoints, tmp_path):
    with pytest.raises(ModelError, match="There is no LoRA to save: its pipeline reads none"):
        save_model(wish_of(reader, PIXART, None, as_lora=True), checkpoints(PIXART), tmp_path / "lora")
    assert [*tmp_path.iterdir()] == []


def test_a_damaged_or_vanished_checkpoint_is_not_saved(reader, checkpoints, tmp_path):
    copy = shutil.copytree(checkpoints(LORA), tmp_path / "checkpoints")
    wishes = [wish_of(reader, LORA, step, as_lora=True) for step in (1, 2)]
    (copy / "step-000001" / "tensors.safetensors").write_bytes(b"")
    shutil.rmtree(copy / "step-000002")
    for wish, message in zip(
        wishes, ("is not as it was written", "There is no checkpoint of step 2 any more"), strict=True
    ):
        with pytest.raises(CheckpointError, match=message):
            save_model(wish, copy, tmp_path / "lora")
    assert [*tmp_path.iterdir()] == [copy]


def beside_four_bits(run):
    return replace(run, config=run.config | {"model": run.config["model"] | {"quantization": "4bit"}})


def seen_in_four_bits(checkpoint):
    """Makes a checkpoint one of a run whose frozen weights looked otherwise because they were quantized."""
    state = json.loads((checkpoint / "state.json").read_text())
    state["identity"]["transformer"] = "another"
    (checkpoint / "state.json").write_text(json.dumps(state))
    digests = {
        name: sha256((checkpoint / name).read_bytes()).hexdigest() for name in ("tensors.safetensors", "state.json")
    }
    (checkpoint / "manifest.json").write_text(json.dumps(digests))


def test_a_run_beside_quantized_weights_gives_its_lora_alone(reader, checkpoints, tmp_path, save):
    wish = wish_of(reader, LORA, None, as_lora=True)
    copy = shutil.copytree(checkpoints(LORA), tmp_path / "checkpoints")
    seen_in_four_bits(copy / "step-000002")
    with pytest.raises(CheckpointError, match="belongs to another model: transformer differ"):
        save_model(wish, copy, tmp_path / "lora")
    save_model(replace(wish, run=beside_four_bits(wish.run)), copy, tmp_path / "lora")
    plain, _ = save(LORA, as_lora=True)
    assert (tmp_path / "lora" / LORA_FILE).read_bytes() == (plain / LORA_FILE).read_bytes()


def test_a_lora_is_not_merged_into_quantized_weights(tmp_path, model_folder):
    values = to_dict(lab_config(tmp_path, model_folder, model={"quantization": "8bit"}))
    with Writer(tmp_path / "lab.db") as writer, closing(Reader(tmp_path / "lab.db")) as reader:
        run_id = writer.create_run(values, 2)
        writer.record(run_id, CheckpointSaved(step=1, folder="step-000001", num_bytes=1))
        writer.flush()
        with pytest.raises(ExchangeError, match=r"model\.quantization is 8bit\), which a LoRA cannot be merged into"):
            wish_of(reader, run_id, None, as_lora=False)
        assert wish_of(reader, run_id, None, as_lora=True).name == "run-1-step-1-lora"


def test_the_page_has_a_live_runs_model_saved_by_another_process(tmp_path, model_folder):
    config = lab_config(tmp_path, model_folder, schedule={"num_steps": 100_000, "checkpoint_every": 100_000})
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, reader):
        assert runner.saving.words() == ""
        run_id = runner.start(config)
        wait_for(is_training(reader, run_id))
        with pytest.raises(ExchangeError, match="Run 1 has no checkpoint"):
            runner.saving.start(run_id, None, False)
        runner.send(run_id, SaveNow())
        wait_for(lambda: reader.checkpoints(run_id))
        (saved,) = reader.checkpoints(run_id)
        name = f"run-1-step-{saved.step}"
        (tmp_path / "lab" / "models" / f"{name}.unfinished").mkdir(parents=True)
        place = tmp_path / "lab" / "models" / f"{name}-2"
        runner.saving.start(run_id, None, False)
        assert runner.saving.words().startswith(f"The model of run 1 at step {saved.step} is being saved to {place}. ")
        with pytest.raises(StoreError, match="A model is being saved already"):
            runner.saving.start(run_id, saved.step, True)
        wait_for(lambda: "is being saved" not in runner.saving.words())
        assert runner.saving.words().startswith(f"The model of run 1 at step {saved.step} is in {place}. In Python, ")
        [listed] = [one for one in saved_models(place.parent) if one.folder == place]
        assert (listed.run_id, listed.step, listed.form) == (run_id, saved.step, Form.WHOLE)
        assert reader.run(run_id).state is RunState.RUNNING
        said = runner.saving.words()
        place.rename(tmp_path / "mine")
        assert runner.saving.words() == said
        shutil.move(tmp_path / "mine", place)
        runner.saving.start(run_id, saved.step, True)
    assert sorted(one.name for one in place.parent.iterdir()) == [f"{name}-2", f"{name}.unfinished"]
    assert runner.saving.words() == f"The LoRA of run 1 at step {saved.step} was not saved. {CUT_SHORT}"


def test_a_saved_model_that_was_tidied_away_before_anybody_looked_is_said_to_be_gone(tmp_path, model_folder):
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, _):
        run_id = runner.start(lab_config(tmp_path, model_folder))
        assert runner.wait(PATIENCE_SECONDS)
        runner.saving.start(run_id, 1, False)
        place = tmp_path / "lab" / "models" / "run-1-step-1"
        child, _, _ = runner.saving._begun  # words() would look
        wait_for(lambda: not child.is_running)
        (place / "model_index.json").unlink()
        said = f"The model of run 1 at step 1 was saved to {place}, and is not there any more as it was."
        assert runner.saving.words() == said


def test_why_a_model_was_not_saved_is_said_on_the_page(tmp_path, model_folder):
    base = shutil.copytree(model_folder, tmp_path / "base")
    (tmp_path / "lab").mkdir()
    with opened(tmp_path / "lab") as (runner, _):
        run_id = runner.start(lab_config(tmp_path, base))
        assert runner.wait(PATIENCE_SECONDS)
        shutil.rmtree(base)
        runner.saving.start(run_id, 1, True)
        wait_for(lambda: "is being saved" not in runner.saving.words())
        said = f"The LoRA of run 1 at step 1 was not saved. There is no model in {base}: it has no model_index.json."
        assert runner.saving.words().startswith(said)
        assert [*(tmp_path / "lab" / "models").iterdir()] == []
