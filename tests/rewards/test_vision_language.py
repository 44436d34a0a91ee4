"""Vision-language judges: the reading of answers, a server of the test, and a tiny model in this process."""

import base64
import time
from io import BytesIO
from math import log

import numpy as np
import pytest
from documented_range import keeps_to_its_range
from judging_server import as_json, serving
from PIL import Image
from tiny_models import llava_folder, qwen_folder

from dgpo_core.errors import RewardError
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.mouths import LocalMouth, ServerMouth
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.server import Server, server_of
from dgpo_core.rewards.supplies import Supplies
from dgpo_core.rewards.vision_language import (
    Said,
    VisionLanguageReward,
    final_mark,
    probability_of_yes,
    quality_level,
)

RED, BLUE = (np.tile(np.array(color, np.uint8), (16, 16, 1)) for color in ((210, 30, 30), (20, 30, 200)))


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (Said("Yes", {"Yes": 0.6, "yes": 0.1, " No": 0.3}), 0.7),
        (Said("No", {"No": 0.9}), 0.0),
        (Said("Yes, it does.", {}), 1.0),
        (Said("I think no.", {}), 0.0),
        (Said("nothing known", {"Maybe": 1.0}), None),
        (Said("", {}), None),
    ],
)
def test_probability_of_yes(said, value):
    assert probability_of_yes(said) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (Said("good", {"good": 0.5, "Excellent": 0.25, "fair": 0.25}), 4.0),
        (Said("bad", {"bad": 1.0}), 1.0),
        (Said("It is excellent.", {}), 5.0),
        (Said("goodness", {}), None),
    ],
)
def test_quality_level(said, value):
    assert quality_level(said) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It fits.\nFinal Score: 4.5", 4.5),
        ("**Final Score:** 3", 3.0),
        ("Final score is not given", None),
        ("Final Score: 9", None),
        ("Final Score: 2 ... no, Final Score: 4", 4.0),
        ("4", None),
    ],
)
def test_final_mark(text, value):
    assert final_mark(Said(text, {})) == value


def completion(text, **chances):
    ranked = [{"token": token, "logprob": log(chance)} for token, chance in chances.items()]
    choice = {"message": {"content": text}, "logprobs": {"content": [{"token": text, "top_logprobs": ranked}]}}
    return as_json({"choices": [choice]})


def seen_in(body):
    """The picture of a question, as numbers."""
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))), float)


def seeing(number, body):
    """Says yes as far as the colour that the question names is in the picture."""
    red, _, blue = seen_in(body).mean(axis=(0, 1))
    is_red = "red" in body["messages"][0]["content"][1]["text"]
    chance = (red if is_red else blue) / (red + blue)
    return completion("yes", Yes=chance, No=1 - chance)


def test_a_judge_behind_a_server_tells_pictures_apart_and_passes_its_self_test():
    with serving(seeing) as asked:
        reward = new_reward("vlm_judge", Supplies(server=f"{asked.url}/v1", server_model="mine", server_key="k"))
        judged = judge(reward, [RED, BLUE], ["a red thing"] * 2)
        assert judged[0].reward == pytest.approx(210 / 240, abs=0.01)
        assert judged[1].reward == pytest.approx(20 / 220, abs=0.01)
        assert self_test(reward).passed
    path, headers, body = asked[0]
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "mine", 0)
    assert headers["Authorization"] == "Bearer k"
    assert '"a red thing"' in body["messages"][0]["content"][1]["text"]


@pytest.mark.parametrize(
    ("name", "reply", "value"),
    [
        ("vlm_quality", completion("good", good=0.5, excellent=0.5), 4.5),
        ("unifiedreward", as_json({"choices": [{"message": {"content": "fine\nFinal Score: 3.5"}}]}), 3.5),
        ("unifiedreward", as_json({"choices": [{"message": {"content": "no idea"}, "logprobs": None}]}), None),
        ("vlm_judge", as_json({"choices": [{"message": {"content": "No."}, "logprobs": None}]}), 0.0),
    ],
)
def test_each_manner_is_read(name, reply, value):
    with serving(lambda number, body: reply) as asked:
        judged = judge(new_reward(name, Supplies(server=asked.url)), [RED], ["a red thing"])[0]
    assert judged.reward == (None if value is None else pytest.approx(value))
    assert keeps_to_its_range(name, [] if value is None else [judged.reward])
    if value is None:
        assert judged.details == "the model said 'no idea', which is no answer to the question"


def graininess(body):
    """How rough the picture of a question is: mean difference of neighbours, as a share of the picture's spread."""
    pixels = seen_in(body).mean(axis=2)
    return np.abs(np.diff(pixels, axis=1)).mean() / pixels.std()


def rating(number, body):
    """Says good of what has large patches with edges, bad of noise and of what is blurred."""
    pixels = seen_in(body).mean(axis=2)
    steepest = np.abs(np.diff(pixels, axis=1)).max()
    is_good = graininess(body) < 0.3 and steepest > 40
    return completion("good" if is_good else "bad", **({"good": 0.6, "fair": 0.4} if is_good else {"bad": 0.9}))


def marking(number, body):
    """Writes a mark that grows with the share of the colour that the caption names."""
    red, _, blue = seen_in(body).mean(axis=(0, 1))
    share = (red if "red" in body["messages"][0]["content"][1]["text"] else blue) / (red + blue)
    return as_json({"choices": [{"message": {"content": f"It is a picture.\nFinal Score: {1 + 4 * share:.2f}"}}]})


@pytest.mark.parametrize(("name", "answer", "num_pairs"), [("vlm_quality", rating, 2), ("unifiedreward", marking, 2)])
def test_a_judge_that_sees_the_pictures_passes_its_self_test_and_one_that_does_not_fails(name, answer, num_pairs):
    with serving(answer) as asked:
        outcome = self_test(new_reward(name, Supplies(server=asked.url)))
    words = "good pictures above their bad counterparts ("
    assert outcome.passed, outcome.words
    assert outcome.words.startswith(f"{name} puts {num_pairs} of {num_pairs} {words}")
    assert len(asked) == 2 * num_pairs
    with serving(lambda number, body: answer(number, asked[0][2])) as asked_blind:
        outcome = self_test(new_reward(name, Supplies(server=asked_blind.url)))
    assert not outcome.passed
    assert outcome.words.startswith(f"{name} puts 0 of {num_pairs} {words}")


MANY = [np.full((8, 8, 3), shade, np.uint8) for shade in range(10, 250, 8)]


def judged_at(url, pictures=MANY, **patience):
    """What vlm_judge says of the pictures, asked at a server with this patience, and the seconds it took."""
    started = time.monotonic()
    reward = VisionLanguageReward("vlm_judge", ServerMouth(Server(url, **patience), "m"))
    return judge(reward, pictures, ["x"] * len(pictures)), time.monotonic() - started


def shade(number, body):
    """Says yes as far as the picture is light, after a little while."""
    time.sleep(0.1)
    light = seen_in(body).mean() / 255
    return completion("yes", yes=light, no=1 - light)


def test_a_server_is_asked_about_several_pictures_at_once_and_the_order_is_kept():
    with serving(shade) as asked:
        judged, seconds = judged_at(asked.url)
    assert [one.reward for one in judged] == pytest.approx([picture.mean() / 255 for picture in MANY])
    assert len(asked) == len(MANY) == 30
    assert seconds < 2.5, "one by one would take three seconds"


def test_a_server_that_is_busy_at_first_is_asked_again():
    def answer(number, body):
        return (429, {"Retry-After": "1"}, b"busy") if number <= 8 else shade(number, body)

    with serving(answer) as asked:
        judged, _ = judged_at(asked.url)
    assert [one.reward for one in judged] == pytest.approx([picture.mean() / 255 for picture in MANY])
    assert len(asked) == 38


def test_a_server_that_is_gone_costs_the_patience_of_one_question_and_all_pictures_are_left_out():
    with serving(shade) as asked:
        address = asked.url
    judged, seconds = judged_at(address, MANY * 10, tries_again=3)
    assert [one.reward for one in judged] == [None] * 300
    assert judged[0].details.startswith(f"{address} cannot be reached: ")
    assert judged[-1].details == f"not asked any more, since {judged[0].details}"
    assert seconds < 15, "three waits of 0, 1 and 2 seconds, once"


def test_a_server_that_hangs_is_given_up_for_all_pictures_of_the_step():
    def hanging(number, body):
        time.sleep(1.5)
        return shade(number, body)

    with serving(hanging) as asked:
        judged, seconds = judged_at(asked.url, seconds=0.3)
    assert [one.reward for one in judged] == [None] * 30
    assert "Read timed out" in judged[0].details
    assert judged[-1].details.startswith(f"not asked any more, since {asked.url} cannot be reached: ")
    assert len(asked) <= 16, "eight at once, each once more"
    assert seconds < 5


def test_rubbish_ends_the_questions_and_is_told_as_the_first_picture_met_it():
    with serving(lambda number, body: (200, {}, b"<html>")) as asked, pytest.raises(RewardError, match="is no JSON"):
        judged_at(asked.url, MANY * 10)
    assert len(asked) <= 8


@pytest.mark.parametrize(("allowed", "silence"), [(600.0, 120.0), (60.0, 12.0), (86_400.0, 120.0)])
def test_a_server_is_given_up_before_the_reward_is(allowed, silence):
    assert server_of(Supplies(server="http://x", seconds=allowed)).seconds == silence


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [{"message": {}}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": "yes"}, "logprobs": {"content": [{"top_logprobs": [{"token": "yes"}]}]}}]},
        {"choices": [{"message": {"content": "yes"}, "logprobs": {"content": ["x"]}}]},
    ],
)
def test_what_is_no_chat_completion_is_refused(answer):
    with serving(lambda number, body: as_json(answer)) as asked, pytest.raises(RewardError, match=asked.url):
        judge(new_reward("vlm_judge", Supplies(server=asked.url)), [RED], ["x"])


def test_a_judge_in_this_process_gives_probabilities_of_its_first_word(tmp_path):
    llava_folder(tmp_path / "me" / "tiny")
    supplies = Supplies(models_folder=str(tmp_path), server_model="me/tiny")
    reward = new_reward("vlm_judge", supplies)
    first, again = (judge(reward, [RED, BLUE], ["a red picture"] * 2) for _ in range(2))
    assert first == again
    assert keeps_to_its_range("vlm_judge", [one.reward for one in first if one.reward is not None])
    said = LocalMouth("vlm_judge", supplies.place("me/tiny"), supplies).ask(RED, "a red picture ?", num_tokens=3)
    assert len(said.first) > 3
    assert sum(said.first.values()) <= 1 + 1e-6


@pytest.mark.parametrize("name", ["vlm_judge", "vlm_quality", "unifiedreward"])
def test_the_models_that_judges_load_by_themselves_need_nothing_that_the_lab_has_not(tmp_path, name):
    """Qwen2.5-VL, in the files that the published ones have: its part for videos would need torchvision."""
    qwen_folder(tmp_path / REWARD_FACTS[name].weights)
    supplies = Supplies(models_folder=str(tmp_path))
    mouth = LocalMouth(name, supplies.place(REWARD_FACTS[name].weights), supplies)
    said = [mouth.ask(picture, "is this red ?", num_tokens=3) for picture in (RED, RED, BLUE)]
    assert said[0] == said[1] != said[2]
    assert all(0 < sum(one.first.values()) <= 1 + 1e-6 for one in said)
    assert mouth.ask(RED, "is this red ?", num_tokens=1).first == said[0].first


def test_a_judge_in_this_process_judges_with_such_a_model(tmp_path):
    qwen_folder(tmp_path / REWARD_FACTS["vlm_quality"].weights)
    judged = judge(new_reward("vlm_quality", Supplies(models_folder=str(tmp_path))), [RED, BLUE], ["a red picture"] * 2)
    assert [one.details.partition(" '")[0] for one in judged] == ["the model said"] * 2, "it knows no such word"


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "me" / "broken").mkdir(parents=True)
    (tmp_path / "me" / "broken" / "config.json").write_text('{"model_type": "nothing"}')
    reward = new_reward("vlm_judge", Supplies(models_folder=str(tmp_path), server_model="me/broken"))
    with pytest.raises(RewardError, match="The reward vlm_judge cannot load its model"):
        judge(reward, [RED], ["x"])
