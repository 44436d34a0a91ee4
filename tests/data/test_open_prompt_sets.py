"""The shipped prompt sets for models of the open world."""

from collections import Counter

import pytest

from base_model.open_prompt_sets import NUM_HELDOUT, NUM_TRAIN, write_open_prompt_sets
from dgpo_core.data.geneval_requests import TAGS, read_request
from dgpo_core.data.prompts import SHIPPED, check_disjoint, load_prompt_set
from dgpo_core.rewards.ocr import OcrReward, plain_letters, wanted_text
from dgpo_core.rewards.supplies import Supplies

NAMES = ("geneval", "ocr", "general")


def test_they_are_written_byte_for_byte_by_their_script(tmp_path):
    write_open_prompt_sets(tmp_path)
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert {name.partition(".")[0] for name in written} == {
        f"{one}-{part}" for one in NAMES for part in ("train", "heldout")
    }
    assert written == {name: (SHIPPED / name).read_bytes() for name in written}


@pytest.mark.parametrize("name", NAMES)
def test_train_and_held_out_have_no_prompt_in_common(name):
    check_disjoint(load_prompt_set(f"{name}-train").prompts, load_prompt_set(f"{name}-heldout").prompts)


def requests_of(name):
    """What the prompts of a set ask for, however they are worded: objects, text, or a thing somewhere."""
    found = load_prompt_set(name)
    if name.startswith("ocr"):
        return [plain_letters(found.notes[prompt]["text"]) for prompt in found.prompts]
    if name.startswith("general"):
        return [prompt.partition(",")[0] for prompt in found.prompts]
    asked = [read_request(found.notes[prompt], prompt) for prompt in found.prompts]
    return [
        (one.tag, frozenset((demand.object_class, demand.count, demand.color) for demand in one.include))
        for one in asked
    ]


@pytest.mark.parametrize(("name", "least"), [("geneval", 150), ("ocr", 50), ("general", 30)])
def test_whole_requests_are_held_out_in_any_wording_order_and_place(name, least):
    train, heldout = (set(requests_of(f"{name}-{part}")) for part in ("train", "heldout"))
    assert not train & heldout
    assert len(heldout) >= least


def test_held_out_objects_and_counts_are_many_and_each_kind_has_its_own():
    by_kind = Counter(tag for tag, _ in set(requests_of("geneval-heldout")))
    assert by_kind.keys() == set(TAGS)
    assert min(by_kind.values()) >= 10


@pytest.mark.parametrize(("part", "count"), [("train", NUM_TRAIN), ("heldout", NUM_HELDOUT)])
def test_genevals_kinds_are_equally_many_and_take_turns_and_every_note_is_read(part, count):
    found = load_prompt_set(f"geneval-{part}")
    requests = [read_request(found.notes[prompt], prompt) for prompt in found.prompts]
    assert Counter(one.tag for one in requests) == dict.fromkeys(TAGS, count)
    assert {one.tag for one in requests[:12]} == set(TAGS)
    for prompt, request in zip(found.prompts, requests, strict=True):
        for demand in request.include:
            assert demand.object_class.split()[0][:3] in prompt
            assert demand.color is None or demand.color in prompt
            assert demand.relation is None or demand.relation in prompt


@pytest.mark.parametrize("part", ["train", "heldout"])
def test_texts_to_write_stand_in_the_prompt_and_reach_the_reward(part):
    found = load_prompt_set(f"ocr-{part}")
    reward = OcrReward(Supplies(notes=found.notes), read=lambda picture: "")
    reward.check_prompts(found.prompts)
    for prompt in found.prompts:
        assert f'"{found.notes[prompt]["text"]}"' in prompt
        assert wanted_text(prompt, Supplies()) == found.notes[prompt]["text"]
