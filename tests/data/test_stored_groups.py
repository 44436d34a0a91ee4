import json

import numpy as np
import pytest
from PIL import Image

from dgpo_core.data.stored_groups import load_groups
from dgpo_core.errors import PromptError


def line_of(prompt, *names, **changes):
    samples = [{"file": name, "reward": 0.5, "seed": 7} | changes for name in names]
    return json.dumps({"prompt": prompt, "samples": samples})


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((8, 8, 3), 50 * number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def write(folder, *lines):
    (folder / "groups.jsonl").write_text("\n".join(lines), encoding="utf-8")


def refusal(folder):
    with pytest.raises(PromptError) as refused:
        load_groups(folder)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said.encode()) < 1000
    return said


def test_groups_come_with_prompts_rewards_seeds_and_pictures(folder):
    write(folder, line_of("a circle", "0.png", "1.png"), "", line_of("a \N{SNOWMAN}", "1.png", "2.png", reward=None))
    first, second = load_groups(folder)
    assert (first.prompt, second.prompt) == ("a circle", "a \N{SNOWMAN}")
    assert [(sample.reward, sample.seed) for sample in first.samples] == [(0.5, 7), (0.5, 7)]
    assert [sample.reward for sample in second.samples] == [None, None]
    pictures = second.pictures((8, 8))
    assert [int(picture[0, 0, 0]) for picture in pictures] == [50, 100]
    assert second.pictures((4, 6))[0].shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not JSON"),
        ("3", "line 2: no prompt"),
        (line_of("  ", "0.png", "1.png"), "line 2: no prompt"),
        (line_of("a circle", "0.png"), "line 2: fewer than two samples"),
        ('{"prompt": "a circle", "samples": 3}', "line 2: fewer than two samples"),
        ('{"prompt": "a circle", "samples": [1, 2]}', "line 2: file 'None' is not a path below the folder"),
        (line_of("a circle", "0.png", "9.png"), "line 2: picture '9.png' is missing"),
        (line_of("a circle", "0.png", "../0.png"), "line 2: file '../0.png' is not a path below the folder"),
        (line_of("a circle", "0.png", "/etc/passwd"), "line 2: file '/etc/passwd' is not a path below the folder"),
        (line_of("a circle", "0.png", "1.png", reward="good"), "line 2: reward 'good' of '0.png' is not a number"),
        (line_of("a circle", "0.png", "1.png", reward=float("nan")), "line 2: reward 'nan' of '0.png' is not a number"),
        (line_of("a circle", "0.png", "1.png", reward=10**400), "line 2: reward '1000"),
        (line_of("a circle", "0.png", "1.png", reward=1e39), "reward '1e+39' of '0.png' is not a number, or too large"),
        (line_of("a circle", "0.png", "1.png", reward=True), "line 2: reward 'True' of '0.png' is not a number"),
        (
            '{"prompt": "a circle", "samples": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "line 2: lists or groups of values too deep",
        ),
        ('{"prompt": "a \\ud800", "samples": []}', "line 2: the prompt holds half a surrogate pair"),
        (line_of("a circle", "0.png", "long" * 100), "line 2: picture 'longlonglong"),
        (line_of("a circle", "0.png", "\ud800.png"), "line 2: file '\\ud800.png' is not a path below the folder"),
    ],
)
def test_wrong_lines_are_named_and_nothing_is_used(folder, line, words):
    write(folder, line_of("a circle", "0.png", "1.png"), line)
    assert words in refusal(folder)


def test_a_prompt_may_hold_other_ends_of_lines(folder):
    prompt = "a\u2028b\u0085c"
    (folder / "groups.jsonl").write_text(
        json.dumps({"prompt": prompt, "samples": [{"file": "0.png"}, {"file": "1.png"}]}, ensure_ascii=False) + "\r\n",
        encoding="utf-8",
    )
    assert [group.prompt for group in load_groups(folder)] == [prompt]


def test_many_wrong_lines_are_counted(folder):
    write(folder, *["{"] * 9)
    assert "line 5: not JSON; and 4 more" in refusal(folder)


def test_groups_may_differ_in_size(folder):
    write(folder, line_of("a circle", "0.png", "1.png"), line_of("a cross", "0.png", "1.png", "2.png"))
    assert [len(group.samples) for group in load_groups(folder)] == [2, 3]


def test_an_empty_or_missing_index_is_refused(folder, tmp_path):
    assert "groups.jsonl cannot be read" in refusal(tmp_path)
    write(folder, "", "")
    assert "holds no group" in refusal(folder)


def test_a_picture_that_is_none_is_named(folder):
    write(folder, line_of("a circle", "0.png", "1.png"))
    (folder / "1.png").write_bytes(b"no picture")
    (group,) = load_groups(folder)
    with pytest.raises(PromptError, match=r"The picture 1\.png of a stored group cannot be read"):
        group.pictures((8, 8))
