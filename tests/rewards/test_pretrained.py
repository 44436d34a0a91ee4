"""What is said when a model that judges cannot be loaded."""

import pytest

from dgpo_core.errors import RewardError
from dgpo_core.rewards.pretrained import loading

PIP = r"\.venv/bin/python -m pip install -c constraints\.txt"


@pytest.mark.parametrize("wanted", ["a_package_that_nobody_has", "a_package_that_nobody_has.part"])
def test_a_missing_package_is_said_with_the_line_that_installs_it(wanted):
    line = rf"needs a package that is missing: No module named '.*'\. Install it: {PIP} a_package_that_nobody_has$"
    with pytest.raises(RewardError, match=f"^The reward clipscore {line}"), loading("clipscore", "somewhere"):
        __import__(wanted)


def test_where_a_library_names_the_package_in_its_words_only_the_line_says_so():
    said = "This tokenizer needs the sentencepiece library."
    line = rf"{said} Install it: {PIP} and the name of that package$"
    with pytest.raises(RewardError, match=line), loading("clipscore", "somewhere"):
        raise ImportError(said)
