"""The example server, started as a person would, asked by the lab's own reward."""

import os
import re
import subprocess
import sys
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


@pytest.fixture
def address(tmp_path):
    """Where a server with a key judges by a person's function."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    command = [sys.executable, str(SERVER), "mine.py:light", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {SERVER_KEY: "secret"}, stdout=subprocess.PIPE, text=True
    )
    try:
        yield re.search(r"Set reward\.server to (http://127\.0\.0\.1:\d+)$", process.stdout.readline())[1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


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
        "There is no reward 'nobody.py:light'. Name hpsv3, or a function of yours as file.py:function."
    )
