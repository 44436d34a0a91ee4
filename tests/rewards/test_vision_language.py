"""Vision-language judges: the reading of answers, a server of the test, and a tiny model in this process."""

import base64
from io import BytesIO
from math import log

import numpy as np
import pytest
from judging_server import as_json, serving
from PIL import Image
from tiny_models import llava_folder

from dgpo_core.errors import RewardError
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.mouths import LocalMouth
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies
from dgpo_core.rewards.vision_language import Said, final_mark, probability_of_yes, quality_level

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


def seeing(number, body):
    """Says yes as far as the colour that the question names is in the picture."""
    content = body["messages"][0]["content"]
    png = base64.b64decode(content[0]["image_url"]["url"].removeprefix("data:image/png;base64,"))
    red, _, blue = np.asarray(Image.open(BytesIO(png))).mean(axis=(0, 1))
    is_red = "red" in content[1]["text"]
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
        ("deqa", completion("good", good=0.5, excellent=0.5), 4.5),
        ("unifiedreward", as_json({"choices": [{"message": {"content": "fine\nFinal Score: 3.5"}}]}), 3.5),
        ("unifiedreward", as_json({"choices": [{"message": {"content": "no idea"}, "logprobs": None}]}), None),
        ("vlm_judge", as_json({"choices": [{"message": {"content": "No."}, "logprobs": None}]}), 0.0),
    ],
)
def test_each_manner_is_read(name, reply, value):
    with serving(lambda number, body: reply) as asked:
        judged = judge(new_reward(name, Supplies(server=asked.url)), [RED], ["a red thing"])[0]
    assert judged.reward == (None if value is None else pytest.approx(value))
    if value is None:
        assert judged.details == "the model said 'no idea', which is no answer to the question"


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
    assert all(one.reward is None or 0 <= one.reward <= 1 for one in first)
    said = LocalMouth("vlm_judge", supplies.place("me/tiny"), supplies).ask(RED, "a red picture ?", num_tokens=3)
    assert len(said.first) > 3
    assert sum(said.first.values()) <= 1 + 1e-6


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "me" / "broken").mkdir(parents=True)
    (tmp_path / "me" / "broken" / "config.json").write_text('{"model_type": "nothing"}')
    reward = new_reward("vlm_judge", Supplies(models_folder=str(tmp_path), server_model="me/broken"))
    with pytest.raises(RewardError, match="The reward vlm_judge cannot load its model"):
        judge(reward, [RED], ["x"])
