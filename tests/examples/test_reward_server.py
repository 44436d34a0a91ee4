"""The example server, started as a person would, asked by the lab's own reward."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dgpo_core.errors import RewardError
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.supplies import SERVER_KEY, Supplies

SERVER = Path(__file__).parents[2] / "examples" / "reward_server.py"
PICTURES = [np.full((8, 6, 3), shade, np.uint8) for shade in (0, 51, 255)]
MINE = """
def light(pictures, prompts):
    return [None if q == "skip" else float(p.mean()) / 255 for p, q in zip(pictures, prompts)]
"""


PACKAGES = {
    "hpsv3": """
class HPSv3RewardInferencer:
    def __init__(self, device):
        assert device == "cuda"

    def reward(self, image_paths, prompts):
        return [(2 * one.getpixel((0, 0))[0] + len(prompt), 0.1) for one, prompt in zip(image_paths, prompts)]
""",
    "torch": "from contextlib import nullcontext as no_grad\n\nfloat16 = 'float16'",
    "transformers": """
class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, name, *, trust_remote_code, attn_implementation, torch_dtype, device_map):
        assert (name, trust_remote_code, torch_dtype) == ("zhiyuanyou/DeQA-Score-Mix3", True, "float16")
        return cls()

    def score(self, pictures):
        return [1 + 4 * one.getpixel((0, 0))[0] / 255 for one in pictures]
""",
}
"""Packages of others that cannot be installed here, as far as the server calls them."""


@contextmanager
def served(folder, reward, **environment):
    """Where the server judges by the reward, started in the folder with what lies there as its packages."""
    command = [sys.executable, str(SERVER), reward, "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(folder)} | environment
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"Set reward\.server to (http://127\.0\.0\.1:\d+)$", process.stdout.readline())[1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def address(tmp_path):
    """Where a server with a key judges by a person's function."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    with served(tmp_path, "mine.py:light", **{SERVER_KEY: "secret"}) as url:
        yield url


@pytest.mark.parametrize(
    ("served_as", "name", "rewards"),
    [("hpsv3", "hpsv3", [1, 103, 511]), ("deqa", "deqa", [1, pytest.approx(1.8), 5])],
)
def test_rewards_of_other_packages_are_asked_as_those_packages_want_it(tmp_path, served_as, name, rewards):
    for package, code in PACKAGES.items():
        (tmp_path / f"{package}.py").write_text(code, encoding="utf-8")
    with served(tmp_path, served_as) as url:
        judged = judge(new_reward(name, Supplies(server=url)), PICTURES, ["a"] * 3)
    assert [one.reward for one in judged] == rewards


def test_a_function_judges_in_another_process(address):
    reward = new_reward("remote", Supplies(server=address, server_key="secret"))
    assert [one.reward for one in judge(reward, PICTURES, ["a", "b", "skip"])] == [0, pytest.approx(0.2), None]


def test_a_wrong_key_and_a_question_of_another_shape_get_one_sentence(address):
    with pytest.raises(RewardError, match=r"answered HTTP 401.*The key is wrong: set DGPO_REWARD_KEY"):
        judge(new_reward("remote", Supplies(server=address, server_key="öther")), PICTURES[:1], ["a"])
    judged = new_reward("vlm_judge", Supplies(server=address, server_key="secret", server_model="x"))
    with pytest.raises(RewardError, match=r"answered HTTP 400.*pictures and prompts are wanted"):
        judge(judged, PICTURES[:1], ["a"])


def test_a_reward_that_is_not_there_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SERVER), "nobody.py:light"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "There is no reward 'nobody.py:light'. Name hpsv3, deqa, or a function of yours as file.py:function."
    )
