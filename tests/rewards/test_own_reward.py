"""A person's own reward, from a file of ten lines to a running run."""

import re
import sys

import numpy as np
import pytest
from project_tree import text_of
from small_run import run, small_config, small_parts

from dgpo_core.errors import RewardError
from dgpo_core.events import EndReason, StepDone
from dgpo_core.rewards.catalogue import new_mixture, new_reward
from dgpo_core.rewards.contract import Judgement, judge
from dgpo_core.rewards.self_test import self_test
from dgpo_core.rewards.supplies import Supplies

PICTURES = [np.full((8, 8, 3), shade, np.uint8) for shade in ((200, 0, 0), (0, 0, 200))]
README_REWARD = re.search(r"```python\n(# my_rewards\.py\n.*?)```", text_of("README.md"), flags=re.DOTALL)[1]


def written(tmp_path, text):
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    return Supplies(folder=tmp_path)


def test_the_readme_shows_a_reward_of_at_most_ten_lines_that_a_run_learns_from(model, tmp_path):
    assert len(README_REWARD.splitlines()) <= 10
    (tmp_path / "my_rewards.py").write_text(README_REWARD, encoding="utf-8")
    name = re.search(r"--set reward\.train=(\S+)", text_of("README.md"))[1]
    reward = new_reward(name, Supplies(folder=tmp_path))
    assert [one.reward for one in judge(reward, PICTURES, ["", ""])] == pytest.approx([200 / 255, -200 / 255])
    config = small_config(reward={"train": name, "evaluation": "brightness"})
    reason, heard = run(config, small_parts(model, tmp_path, config, reward=reward))
    assert reason is EndReason.FINISHED
    assert all(group.has_preference for step in heard.of(StepDone) for group in step.groups)


def test_a_function_of_a_module_is_found_and_mixed(tmp_path, monkeypatch):
    written(tmp_path, "def red(pictures, prompts):\n    return [int(p[0, 0, 0]) for p in pictures]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert [one.reward for one in judge(new_reward("mine:red"), PICTURES, ["", ""])] == [200, 0]
    mixed = judge(new_mixture("mine:red*0.5 + brightness", "here"), PICTURES, ["", ""])
    assert mixed[0].terms == (("mine:red", 200.0), ("brightness", pytest.approx(0.299 * 200 / 255)))


def test_metadata_reaches_a_reward_that_asks_for_it(tmp_path):
    supplies = written(
        tmp_path, "def known(pictures, prompts, metadata):\n    return [m.get('wanted') for m in metadata]\n"
    )
    supplies = Supplies(folder=supplies.folder, notes={"a": {"wanted": 3}})
    assert [one.reward for one in judge(new_reward("mine.py:known", supplies), PICTURES, ["a", "b"])] == [3, None]


def test_a_class_may_check_prompts_and_name_its_trials(tmp_path):
    supplies = written(
        tmp_path,
        "import numpy as np\n"
        "from dgpo_core.errors import PromptError\n"
        "from dgpo_core.rewards.contract import Trial\n"
        "class Dark:\n"
        "    def check_prompts(self, prompts):\n"
        "        if 'bad' in prompts: raise PromptError('not this one')\n"
        "    def trials(self):\n"
        "        shades = [np.full((4, 4, 3), shade, np.uint8) for shade in (0, 255)]\n"
        "        return [Trial(*shades, 'x')]\n"
        "    def __call__(self, pictures, prompts):\n"
        "        return [-float(p.mean()) for p in pictures]\n",
    )
    reward = new_reward("mine.py:Dark", supplies)
    with pytest.raises(ValueError, match="not this one"):
        reward.check_prompts(["bad"])
    assert self_test(reward).rewards == ((0.0, -255.0),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere.py:red", "", r"There is no file nowhere\.py, so the reward in it cannot be loaded"),
        ("nowhere_at_all:red", "", "nowhere_at_all:red cannot be loaded: No module named"),
        ("mine.py:green", "def red(): pass", r"mine\.py:green cannot be loaded: .*green"),
        ("mine.py:red", "def red(:", r"mine\.py:red cannot be loaded: .*Mend the file"),
        ("mine.py:red", "import nothing_like_it", "cannot be loaded: No module named 'nothing_like_it'"),
        ("mine.py:red", "1 / 0", r"mine\.py:red cannot be loaded: ZeroDivisionError: division by zero\. Mend"),
        ("mine.py:red", "import os; os.environ['NOPE_KEY']", "cannot be loaded: KeyError: 'NOPE_KEY'"),
        ("mine.py:Red", "class Red:\n    def __init__(self, path): pass", "cannot be loaded: TypeError: .*'path'"),
        ("mine.py:red", "red = 3", r"mine\.py:red is int, which cannot judge"),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path, name, text, message):
    supplies = written(tmp_path, text)
    with pytest.raises(RewardError, match=message):
        new_reward(name, supplies)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("3", r"The reward mine\.py:red gave '3'\. It must give a list with one number per picture"),
        ("[1]", "gave 1 judgements for 2 pictures"),
        ("['a', 'b']", "gave 'a' for a picture"),
        ("1 / 0", "failed with ZeroDivisionError: division by zero"),
    ],
)
def test_what_breaks_the_contract_is_said_with_the_name(tmp_path, answer, message):
    supplies = written(tmp_path, f"def red(pictures, prompts):\n    return {answer}\n")
    with pytest.raises(RewardError, match=message):
        judge(new_reward("mine.py:red", supplies), PICTURES, ["", ""])


@pytest.mark.parametrize(
    ("details", "kept"), [(None, ""), ("cut \ud83d", "cut ?"), ({"a": 1}, "{'a': 1}"), ("fine", "fine")]
)
@pytest.mark.parametrize("reward", [0.5, None])
def test_details_are_text_that_can_be_stored(reward, details, kept):
    [judgement] = judge(lambda pictures, prompts: [Judgement(reward, details=details)], PICTURES[:1], [""])
    assert judgement == Judgement(reward, details=kept)


@pytest.mark.parametrize("terms", [{"red": 0.3}, (("red", "x"),), 3])
def test_terms_that_are_no_names_with_numbers_are_said(terms):
    with pytest.raises(RewardError, match=r"gave the terms .*\. They must be pairs of a name and a number"):
        judge(lambda pictures, prompts: [Judgement(0.5, terms)], PICTURES[:1], [""])


def test_a_function_that_names_no_trials_must_answer_before_a_run(tmp_path):
    supplies = written(tmp_path, "def broken(pictures, prompts):\n    raise OSError('no such file: marks.csv')\n")
    with pytest.raises(RewardError, match=r"mine\.py:broken failed with OSError: no such file: marks\.csv"):
        self_test(new_reward("mine.py:broken", supplies))
