"""What the button that saves a model hands over, and what it answers."""

import pytest
from conftest import poll, start_run
from fastapi.testclient import TestClient
from gradio.routes import App
from store_actions import RememberedSaving

from app.saved_models import LORA_FILE
from app.store.rows import CheckpointRow
from app.ui.build import build_page
from app.ui.tabs.saving import LORA, WHOLE, asked, offered
from dgpo_core.errors import ExchangeError
from dgpo_core.events import CheckpointSaved

NOTHING_YET = "Run 1 has no checkpoint."


class RefusingSaving(RememberedSaving):
    """Says why not."""

    def start(self, run_id, step, as_lora):
        raise ExchangeError(NOTHING_YET)


def checkpoints(*steps):
    return [CheckpointRow(step=step, folder=f"step-{step}", num_bytes=1, created="") for step in steps]


@pytest.mark.parametrize(("form", "as_lora"), [(WHOLE, False), (LORA, True)])
def test_the_chosen_checkpoint_is_asked_for_in_the_chosen_form(lab, form, as_lora):
    assert asked(lab, 1, 40, form) == ["", "Run 1 is being saved."]
    assert asked(lab, 2, None, form) == ["", "Run 2 is being saved."]
    assert lab.actions.saving.asked == [(1, 40, as_lora), (2, None, as_lora)]


def test_a_refusal_stands_beside_the_button(lab):
    lab.actions.saving = RefusingSaving()
    assert asked(lab, 1, 40, WHOLE) == [NOTHING_YET, ""]
    assert asked(lab, None, 40, WHOLE) == ["No run is open. Choose one from the list first.", ""]


def test_checkpoints_are_offered_newest_first_and_a_choice_stays():
    choices = [("step 40", 40), ("step 20", 20)]
    assert offered(checkpoints(20, 40), 20) == {"__type__": "update", "choices": choices, "value": 20}
    assert offered(checkpoints(20, 40), 10) == {"__type__": "update", "choices": choices, "value": 40}
    assert offered([], 10) == {"__type__": "update", "choices": [], "value": None}


def test_the_page_is_told_how_a_saving_stands_though_the_store_did_not_change(lab, writer):
    run_id = start_run(writer, 1)
    writer.record(run_id, CheckpointSaved(step=1, folder="step-000001", num_bytes=1))
    writer.flush()
    live = build_page(lab).live
    first = poll(live, {"topics": {"saving": {"seen": None}}})
    seen = {"token": first["token"], "topics": {"saving": {"seen": first["topics"]["saving"]}}}
    assert poll(live, seen) == {"token": first["token"]}
    asked(lab, run_id, 1, WHOLE)
    assert list(poll(live, seen)["topics"]) == ["saving"]


def test_the_page_lists_what_was_saved_and_hears_of_more(lab):
    place = lab.settings.saved_models / "run-4-step-40-lora"
    page = build_page(lab)
    client = TestClient(App.create_app(page), base_url="http://127.0.0.1")

    def listed():
        _, table = client.post("/gradio_api/run/runs_saved_models", json={"data": []}).json()["data"]
        return [row["cells"][:4] + row["cells"][5:] for row in table["rows"]], table["empty"]

    def news(seen):
        return poll(page.live, {"topics": {"saving": {"seen": seen}}})["topics"].get("saving")

    assert listed() == ([], "No model has been saved from here yet.")
    seen = news(None)
    assert news(seen) is None
    place.mkdir(parents=True)
    (place / LORA_FILE).write_bytes(bytes(2048))
    assert news(seen) not in (None, seen)
    assert listed()[0] == [["4", "40", "LoRA alone", "2.0 kB", str(place)]]


def test_the_runs_tab_offers_an_open_runs_checkpoints_and_has_the_chosen_one_saved(lab, writer):
    run_id = start_run(writer, 1)
    for step in (1, 2):
        writer.record(run_id, CheckpointSaved(step=step, folder=f"step-{step:06d}", num_bytes=1))
    writer.flush()
    client = TestClient(App.create_app(build_page(lab)), base_url="http://127.0.0.1")

    def answer(name, *data):
        return client.post(f"/gradio_api/run/{name}", json={"data": data}).json()["data"]

    updates = [one for one in answer("runs_refresh", None, None, None) if isinstance(one, dict)]
    assert {"choices": [["step 2", 2], ["step 1", 1]], "value": 2, "__type__": "update"} in updates
    assert answer("runs_save_model", run_id, 1, LORA) == ["", f"Run {run_id} is being saved."]
    assert lab.actions.saving.asked == [(run_id, 1, True)]
