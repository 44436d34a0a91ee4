"""The reward on another machine, against a real server of the test."""

import base64
import time
from io import BytesIO

import numpy as np
import pytest
from judging_server import as_json, serving
from PIL import Image

from dgpo_core.errors import RewardError
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.remote import RemoteReward
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.server import Server
from dgpo_core.rewards.supplies import Supplies

PICTURES = [np.full((8, 6, 3), shade, np.uint8) for shade in (0, 100, 255)]
PROMPTS = ["a", "b", "c"]


def brightness_of(body):
    pictures = [np.asarray(Image.open(BytesIO(base64.b64decode(one)))) for one in body["pictures"]]
    return [float(picture.mean()) / 255 for picture in pictures]


def reward_at(url, **supplies):
    return new_reward("remote", Supplies(server=url, **supplies))


def test_pictures_prompts_and_metadata_go_out_and_numbers_come_back():
    notes = {"b": {"text": "B"}}
    with serving(lambda number, body: as_json({"rewards": brightness_of(body), "details": ["x", "y", "z"]})) as asked:
        judged = judge(reward_at(asked.url, notes=notes, server_key="secret"), PICTURES, PROMPTS)
    assert [one.reward for one in judged] == pytest.approx([0, 100 / 255, 1])
    assert [one.details for one in judged] == ["x", "y", "z"]
    _, headers, body = asked[0]
    assert (body["prompts"], body["metadata"]) == (PROMPTS, [{}, {"text": "B"}, {}])
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"


def test_null_is_no_opinion():
    with serving(lambda number, body: as_json({"rewards": [1, None, float("inf")]})) as asked:
        assert [one.reward for one in judge(reward_at(asked.url), PICTURES, PROMPTS)] == [1, None, None]


def test_many_pictures_go_in_several_questions():
    with serving(lambda number, body: as_json({"rewards": brightness_of(body)})) as asked:
        judged = judge(reward_at(asked.url), PICTURES * 20, PROMPTS * 20)
    assert [len(body["prompts"]) for _, _, body in asked] == [32, 28]
    assert [one.reward for one in judged] == pytest.approx([0, 100 / 255, 1] * 20)


def test_a_busy_server_is_asked_again_after_the_time_it_names():
    def answer(number, body):
        return (429, {"Retry-After": "1"}, b"busy") if number == 1 else as_json({"rewards": [1, 2, 3]})

    started = time.monotonic()
    with serving(answer) as asked:
        assert [one.reward for one in judge(reward_at(asked.url), PICTURES, PROMPTS)] == [1, 2, 3]
    assert len(asked) == 2
    assert 1 <= time.monotonic() - started < 4


@pytest.mark.parametrize("status", [429, 503])
def test_pictures_are_left_out_while_the_server_stays_busy(status):
    with serving(lambda number, body: (status, {"Retry-After": "0"}, b"busy")) as asked:
        supplies = Supplies(server=asked.url)
        judged = judge(RemoteReward(supplies, Server(asked.url, tries_again=2)), PICTURES, PROMPTS)
    assert len(asked) == 3
    assert [one.reward for one in judged] == [None] * 3
    assert f"stayed busy (HTTP {status})" in judged[0].details


def test_pictures_are_left_out_while_nobody_answers(free_address):
    server = Server(free_address, tries_again=0)
    judged = judge(RemoteReward(Supplies(server=free_address), server), PICTURES, PROMPTS)
    assert [one.reward for one in judged] == [None] * 3
    assert f"{free_address} cannot be reached: " in judged[0].details


def test_a_server_that_hangs_is_given_up():
    def slow(number, body):
        time.sleep(1)
        return as_json({"rewards": [1, 2, 3]})

    with serving(slow) as asked:
        server = Server(asked.url, seconds=0.2, tries_again=0)
        judged = judge(RemoteReward(Supplies(server=asked.url), server), PICTURES, PROMPTS)
    assert [one.reward for one in judged] == [None] * 3


def test_what_is_left_when_a_server_falls_silent_is_not_asked_any_more():
    def answer(number, body):
        if number > 1:
            time.sleep(1)
        return as_json({"rewards": brightness_of(body)})

    with serving(answer) as asked:
        reward = RemoteReward(Supplies(server=asked.url), Server(asked.url, seconds=0.3))
        started = time.monotonic()
        judged = judge(reward, PICTURES * 64, PROMPTS * 64)
        seconds = time.monotonic() - started
    assert [one.reward for one in judged[:32]] == pytest.approx(([0, 100 / 255, 1] * 11)[:32])
    assert [one.reward for one in judged[32:]] == [None] * 160
    assert judged[-1].details == f"not asked any more, since {judged[32].details}"
    assert len(asked) == 3, "answered once, asked in vain twice"
    assert seconds < 3


@pytest.fixture
def free_address():
    with serving(lambda number, body: as_json({})) as asked:
        address = asked.url
    return address


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, {}, b"<html>hello"), "answered '<html>hello', which is no JSON"),
        ((200, {}, b"\x80\x04\x95pickle"), "which is no JSON"),
        ((200, {}, b"[1, 2, 3]"), "must answer a JSON object"),
        (as_json({"score": 1}), "for 3 pictures. It must answer"),
        (as_json({"rewards": [1, 2]}), "for 3 pictures. It must answer"),
        (as_json({"rewards": ["good", 1, 2]}), "gave 'good' for a picture"),
        (as_json({"rewards": [[1], 1, 2]}), "gave '.1.' for a picture"),
        ((404, {}, b"not here"), "answered HTTP 404: 'not here'. Check reward.server"),
        ((500, {}, b"oops"), "answered HTTP 500"),
        ((302, {"Location": "http://example.org/"}, b""), "answered HTTP 302"),
    ],
)
def test_rubbish_is_refused_in_one_sentence(reply, message):
    with serving(lambda number, body: reply) as asked, pytest.raises(RewardError, match=message):
        judge(reward_at(asked.url), PICTURES, PROMPTS)


@pytest.mark.parametrize("address", ["", "localhost:8000", "file:///etc", "ftp://x", "http://", "http://[::1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(RewardError, match=r"reward\.server"):
        reward_at(address)


def test_the_key_is_not_shown():
    assert "secret" not in repr(Supplies(server_key="secret"))


@pytest.mark.parametrize("name", ["hpsv3", "deqa"])
def test_a_reward_with_a_server_of_its_own_must_tell_clean_pictures_from_noise_and_blur(name):
    def edges(number, body):
        pictures = [np.asarray(Image.open(BytesIO(base64.b64decode(one))), float) for one in body["pictures"]]
        return as_json({"rewards": [float(np.abs(np.diff(one, axis=0)).max()) for one in pictures]})

    with serving(edges) as asked:
        outcome = self_test(new_reward(name, Supplies(server=asked.url)))
    assert outcome.passed
    assert outcome.words.startswith(f"{name} puts 2 of 2 good pictures above their bad counterparts (")
    with serving(lambda number, body: as_json({"rewards": [1.0, 1.0]})) as asked:
        assert not self_test(new_reward(name, Supplies(server=asked.url))).passed


@pytest.mark.parametrize(("name", "packages"), [("hpsv3", "hpsv3"), ("deqa", "transformers==4.36.1 torch accelerate")])
def test_such_a_reward_without_a_server_says_what_it_needs(name, packages):
    with pytest.raises(RewardError) as refused:
        new_reward(name)
    assert str(refused.value) == (
        f"The reward {name} needs reward.server, the address of your server. Set it. To start one, copy "
        "examples/reward_server.py into an environment of its own: "
        f"python -m pip install {packages} && python reward_server.py {name}"
    )


def test_a_server_of_unknown_kind_must_just_answer():
    with serving(lambda number, body: as_json({"rewards": brightness_of(body)})) as asked:
        assert (
            self_test(reward_at(asked.url)).words
            == "remote answers (0.4994) and names no pictures that it must tell apart"
        )
    assert len(asked) == 1
