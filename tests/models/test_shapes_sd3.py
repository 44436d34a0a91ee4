"""The model that ships: as its card says, and for whatever a person types."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgpo_core.assembly import category_of, load_model
from dgpo_core.config import RunConfig
from dgpo_core.examination import Examiner
from dgpo_core.rewards.shapes_verifier import ShapesVerifier
from dgpo_core.rollout import starting_noise

ASSETS = Path(__file__).parents[2] / "assets"
PROMPT = "a red circle left of a blue square"


@pytest.fixture(scope="module")
def shipped():
    return load_model(RunConfig())


def test_everything_that_ships_beside_the_code_is_below_25_megabytes():
    assert 15e6 < sum(file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()) < 25e6


def test_the_call_on_the_model_card_draws_the_picture_that_the_lab_scores(shipped, monkeypatch):
    config = RunConfig()
    examiner = Examiner(
        model=shipped,
        reward=ShapesVerifier(is_strict=True),
        quality=None,
        category_of=category_of,
        rollout=config.rollout,
        batch=1,
    )
    (examined,) = examiner.draw([PROMPT], seed=3, weights=None)
    (block,) = re.findall(r"```python\n(.*?)```", (ASSETS / "shapes-sd3" / "README.md").read_text(), re.DOTALL)
    call, found = block.replace("width=64,", "width=64, latents=noise,"), {}
    assert f'"{PROMPT}"' in block
    monkeypatch.chdir(ASSETS.parent)
    exec(call, found | {"noise": starting_noise([examined.seed], shipped.latent_shape, shipped.device)}, found)
    ours = np.asarray(Image.open(BytesIO(examined.png)))
    assert ours.std() > 20
    assert np.array_equal(np.asarray(found["picture"]), ours)


@pytest.mark.parametrize(
    "prompt",
    [
        "<script>alert('a red circle')</script><b>&amp;</b>",
        "עיגול אדום משמאל לריבוע כחול",
        "\u202ea red circle\u202c دائرة حمراء",
        "🔴🟦👩\u200d👩\u200d👧 a red circle 🏳️\u200d🌈",
        "a red circle " * 153 + "and a ring.",
        "",
    ],
    ids=["HTML", "Hebrew", "turned about", "emoji", "2000 characters", "nothing"],
)
def test_any_prompt_is_read_as_finite_numbers_of_the_usual_shape(shipped, prompt):
    usual, read = shipped.encode([PROMPT]), shipped.encode([prompt])
    for one, other in ((read.embeddings, usual.embeddings), (read.pooled, usual.pooled)):
        assert one.shape == other.shape
        assert one.isfinite().all()
