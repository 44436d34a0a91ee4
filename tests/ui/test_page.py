"""The whole page without a browser: how it is launched, what Start and the buttons do."""

import socket
from contextlib import closing
from dataclasses import replace

import httpx
import pytest
from conftest import HOSTILE, RememberingActions, start_run, step_done
from fastapi.testclient import TestClient
from gradio.routes import App

from app.lab import Lab
from app.recipes import list_recipes, load_recipe
from app.reckoning import memory_in_words
from app.settings import Settings
from app.store.reader import Reader
from app.store.writer import Writer
from app.ui.build import build_page, launch_options, serve
from app.ui.fields import values_of
from app.ui.tabs.runs import fingerprint as runs_fingerprint
from app.ui.train_requests import MAX_SAMPLED, MEMORY_SETTINGS, OWN_PROMPTS, acting, cautions_of, start
from benchmarks.port import free_port
from dgpo_core.config import RunConfig, settings
from dgpo_core.data.prompts import load_prompts
from dgpo_core.errors import ConfigError, PromptError, StoreError
from dgpo_core.events import CheckpointSaved, Pause, Resume, RunFailed, SampleNow, SaveNow, Stop, Warned

PATHS = [setting.path for setting in settings()]


def form(**changes):
    """The form's values with some changed, __ for the dot of a path."""
    values = values_of(RunConfig())
    for name, value in changes.items():
        values[PATHS.index(name.replace("__", "."))] = value
    return values


class ReckoningActions(RememberingActions):
    """Reckons in earnest."""

    def memory_in_words(self, config):
        return memory_in_words(config, may_fetch=False)


@pytest.fixture(scope="module")
def page_of_an_empty_lab(tmp_path_factory):
    """For tests that leave the lab as it is: building a page takes far longer than asking it."""
    settings = Settings(folder=tmp_path_factory.mktemp("empty"))
    with Writer(settings.database) as writer, closing(Reader(settings.database)) as reader:
        yield build_page(Lab(settings, reader, ReckoningActions(writer)))


@pytest.fixture(scope="module")
def asked(page_of_an_empty_lab):
    """A client of that page."""
    return TestClient(App.create_app(page_of_an_empty_lab), base_url="http://127.0.0.1")


def test_the_launch_shares_sends_and_records_nothing(lab, page_of_an_empty_lab):
    options = launch_options(lab)
    off = ("share", "ssr_mode", "enable_monitoring", "mcp_server", "run_history", "pwa", "show_error")
    assert [options[name] for name in off] == [False] * len(off)
    assert (options["server_name"], options["allowed_paths"], options["footer_links"]) == ("127.0.0.1", [], [])
    assert page_of_an_empty_lab.analytics_enabled is False


def test_an_address_with_colons_is_handed_on_in_brackets(lab):
    six = replace(lab, settings=replace(lab.settings, host="::1"))
    assert launch_options(six)["server_name"] == "[::1]"


def test_a_taken_port_is_told_with_one_that_may_be_free(tmp_path, lab):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(folder=tmp_path, port=port)
        with pytest.raises(ConfigError, match=rf"port {port} is taken\. Choose another with --port {port + 1}"):
            serve(replace(lab, settings=settings))


def test_vibe_mode_is_refused(lab, monkeypatch):
    monkeypatch.setenv("GRADIO_VIBE_MODE", "1")
    with pytest.raises(ConfigError, match="GRADIO_VIBE_MODE is set"):
        launch_options(lab)


def test_start_hands_over_the_config_of_the_form(lab):
    run_id = start(lab, "", form(name=HOSTILE.replace("\u202e", ""), rollout__group_size=8))
    assert lab.actions.started[0].rollout.group_size == 8
    assert lab.reader.run(run_id).name == HOSTILE.replace("\u202e", "")


def test_start_keeps_own_prompts_unchanged(lab):
    start(lab, f"{HOSTILE}\na red circle", form(prompts__train=OWN_PROMPTS))
    config = lab.actions.started[0]
    assert load_prompts(config.prompts.train, lab.settings.folder) == [HOSTILE, "a red circle"]
    assert replace(config, prompts=RunConfig().prompts) == RunConfig()


def test_start_refuses_what_it_cannot_use_and_starts_nothing(lab):
    with pytest.raises(ConfigError, match="group_size must be 2 to 256"):
        start(lab, "", form(rollout__group_size=1))
    with pytest.raises(PromptError, match="The pasted text holds no prompt"):
        start(lab, " \n", form(prompts__train=OWN_PROMPTS))
    assert lab.actions.started == []


def test_a_second_start_is_refused_in_the_words_of_the_lab(lab):
    start(lab, "", form())
    with pytest.raises(StoreError, match="A run is live already"):
        start(lab, "", form())


def test_the_start_endpoint_answers_with_the_message_beside_the_form(lab):
    page = build_page(lab)
    client = TestClient(App.create_app(page, app_kwargs=launch_options(lab)["app_kwargs"]), base_url="http://127.0.0.1")
    bad = client.post("/gradio_api/run/start", json={"data": ["", *form(rollout__group_size=1)]})
    assert bad.json()["data"][0] == "rollout.group_size must be 2 to 256, got 1. Pictures drawn per prompt."
    good = client.post("/gradio_api/run/start", json={"data": ["", *form()]})
    assert (good.json()["data"][0], good.json()["data"][1]["interactive"]) == ("", False)
    assert [config.name for config in lab.actions.started] == ["my run"]


def test_start_may_be_pressed_again_after_a_run_that_failed_at_once(lab, writer):
    class FailingActions(RememberingActions):
        def start(self, config):
            run_id = super().start(config)
            self.writer.record(run_id, RunFailed(step=0, message="No model.", details=""))
            self.writer.flush()
            return run_id

    page = build_page(replace(lab, actions=FailingActions(writer)))
    client = TestClient(App.create_app(page, app_kwargs=launch_options(lab)["app_kwargs"]), base_url="http://127.0.0.1")
    message, button = client.post("/gradio_api/run/start", json={"data": ["", *form()]}).json()["data"]
    assert (message, button["interactive"]) == ("", True)


@pytest.mark.parametrize(
    "change",
    [
        lambda writer, run: writer.record(run, CheckpointSaved(step=1, folder="1", num_bytes=1)),
        lambda writer, run: writer.record(run, Warned(step=1, message="careful")),
        lambda writer, run: writer.set_notes(run, "mine"),
        lambda writer, run: writer.rename(run, "other"),
        lambda writer, run: writer.record(run, step_done(2)),
    ],
)
def test_the_runs_tab_hears_of_everything_it_shows(change, lab, writer):
    run = start_run(writer, 2)
    before = runs_fingerprint(lab.reader)
    assert runs_fingerprint(lab.reader) == before
    change(writer, run)
    writer.flush()
    assert runs_fingerprint(lab.reader) != before


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_choosing_a_recipe_fills_in_every_setting(recipe, asked):
    answer = asked.post("/gradio_api/run/choose_recipe", json={"data": [recipe.name]}).json()["data"]
    assert answer[0] == ""
    assert answer[1]["info"] == recipe.about
    assert [one["value"] if isinstance(one, dict) else one for one in answer[2:]] == values_of(load_recipe(recipe.name))


def test_unwise_settings_are_told_beside_the_form_and_wrong_ones_by_start():
    config = load_recipe("shapes")
    assert cautions_of(values_of(config)) == ""
    loss = replace(config.loss, clip_range=0.5, extremes=0)
    unwise = replace(config, rollout=replace(config.rollout, group_size=4), loss=loss)
    assert [line.split()[0] for line in cautions_of(values_of(unwise)).split("\n")] == ["Groups", "loss.clip_range"]
    wrong = [*values_of(config)]
    wrong[-1] = -1
    assert cautions_of(wrong) == ""


def memory_form(**changes):
    """The form's values that memory depends on."""
    values = dict(zip(PATHS, form(**changes), strict=True))
    return [values[path] for path in MEMORY_SETTINGS]


def test_the_page_tells_what_memory_the_settings_take(asked, model_folder):
    def told(**changes):
        return asked.post("/gradio_api/run/memory", json={"data": memory_form(**changes)}).json()["data"][0]

    small = {"model__folder": str(model_folder), "model__lora_rank": 2}
    assert told(**small).startswith("About 0.")
    assert told(**small) != told(**small | {"update__micro_batch": 4096})
    paths = small | {"rollout__sampler": "flow_sde", "rollout__groups_per_step": 512}
    assert told(**paths) != told(**paths | {"rollout__num_sampling_steps": 100})
    assert told(**small | {"reward__train": "brightness + mine:red"}).endswith("not known here: mine:red.")
    assert told(**small | {"update__micro_batch": 0}) == ""
    assert told(model__folder="nowhere").startswith("There is no model in nowhere")
    assert told(model__folder="nobody/nothing").startswith("The model nobody/nothing is neither a folder here")


def test_a_brought_file_becomes_the_prompts_of_the_form(lab, tmp_path, request):
    lab = replace(lab, settings=Settings(folder=tmp_path, port=free_port()))
    page = build_page(lab)
    _, url, _ = page.launch(prevent_thread_lock=True, **launch_options(lab))
    request.addfinalizer(lambda: page.close(verbose=False))
    client = httpx.Client(base_url=url)
    request.addfinalizer(client.close)

    def bring(name, content):
        (path,) = client.post("/gradio_api/upload", files={"files": (name, content)}).json()
        file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        return client.post("/gradio_api/run/bring_prompts", json={"data": [file]}).json()["data"]

    refused, words, choice, *others = bring("../../mine.csv", b"prompt,text\na mug,HI\na cat,\n")
    assert (refused, words) == ("", "mine.csv: 2 prompts. 1 have data beside them.")
    assert choice["value"] in [value for _, value in choice["choices"]]
    assert (lab.settings.folder / choice["value"]).parent == lab.settings.own_prompts
    assert load_prompts(choice["value"], lab.settings.folder) == ["a mug", "a cat"]
    assert [choice["value"] in {value for _, value in other["choices"]} for other in others] == [True, True]
    assert ["value" in other for other in others] == [False, False]
    again = client.post("/gradio_api/run/prompt_sets", json={"data": []}).json()["data"]
    assert [one["choices"] for one in again] == [one["choices"] for one in (choice, *others)]
    start(lab, "", form(prompts__train=choice["value"]))
    assert lab.actions.started[0].prompts.train == choice["value"]
    refused, words, *_ = bring("mine.pdf", b"%PDF")
    assert refused.startswith("'mine.pdf' is no prompt file: its name must end in .txt")
    assert words == ""
    assert len(list(lab.settings.own_prompts.iterdir())) == 1


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        ({"action": "pause"}, Pause()),
        ({"action": "go_on"}, Resume()),
        ({"action": "stop"}, Stop()),
        ({"action": "save"}, SaveNow()),
        ({"action": "sample", "prompts": f"{HOSTILE}\na cat", "seed": 7}, SampleNow((HOSTILE, "a cat"), 7)),
    ],
)
def test_each_button_sends_its_command(request_, command, lab, writer):
    run_id = start_run(writer)
    answer = acting(lab)({"run": run_id} | request_)
    assert set(answer) == {"done"}
    assert lab.actions.sent == [(run_id, command)]


def test_resume_resumes(lab):
    assert acting(lab)({"run": 4, "action": "resume"}) == {"done": ""}
    assert lab.actions.resumed == [4]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"action": "pause"}, "There is no run yet"),
        ({"run": "1", "action": "pause"}, "There is no run yet"),
        ({"run": 1, "action": "explode"}, "must be one of pause, go_on, stop, save, resume, sample, got 'explode'"),
        ({"run": 1, "action": ["pause"]}, "action must be one of"),
        ({"run": 1, "action": "sample", "prompts": " ", "seed": 0}, "The box holds no prompt"),
        ({"run": 1, "action": "sample", "prompts": "\n".join(map(str, range(MAX_SAMPLED + 1)))}, "At most 16 prompts"),
        ({"run": 1, "action": "sample", "prompts": "a\0b", "seed": 0}, "holds a NUL"),
        ({"run": 1, "action": "sample", "prompts": "a", "seed": None}, "The seed must be a whole number from 0 to"),
        ({"run": 1, "action": "sample", "prompts": "a", "seed": 2**31}, "The seed must be a whole number from 0 to"),
    ],
)
def test_a_senseless_request_is_answered_with_a_sentence_and_sends_nothing(request_, message, lab):
    answer = acting(lab)(request_)
    assert message in answer["error"]
    assert lab.actions.sent == []
