"""A learned preference as a reward, and its way to the disk and back."""

import json
from math import isfinite

import numpy as np
import pytest
import torch
from drawn_groups import SeenFeatures, drawn_groups, labelled_by

from dgpo_core.errors import RewardError
from dgpo_core.preference.learned_reward import learn
from dgpo_core.preference.picture_features import PipelineFeatures, resized
from dgpo_core.preference.saved import ABOUT, TENSORS, About, load_preference, save_preference
from dgpo_core.rewards.annotators import TASTES, annotator
from dgpo_core.rewards.contract import judge
from dgpo_core.rewards.label_scores import agreement

FACTS = About(num_groups=12, accuracy=0.9, calibration_error=0.02)


@pytest.fixture(scope="module")
def groups():
    return drawn_groups(24)


@pytest.fixture(scope="module")
def learned_large(groups):
    return learn(labelled_by(annotator(TASTES["large"]), groups[:16]), SeenFeatures(), seed=0)


@pytest.fixture
def saved(learned_large, tmp_path):
    save_preference(tmp_path / "version-1", learned_large[0], FACTS)
    return tmp_path / "version-1"


def test_it_judges_unseen_groups_as_the_annotator_would(groups, learned_large):
    reward, trust = learned_large
    taus = []
    for group in groups[16:]:
        said = [one.reward for one in judge(reward, group, ["a ring"] * len(group))]
        taus.append(agreement(said, [TASTES["large"](picture) for picture in group]))
    assert np.mean(taus) > 0.6
    assert trust.accuracy > 0.8


def test_it_keeps_the_contract_of_rewards(groups, learned_large):
    reward, _ = learned_large
    group = groups[0]
    together = reward(group, ["a ring"] * len(group))
    for picture, judgement in zip(group, together, strict=True):
        assert judgement.reward == pytest.approx(reward([picture], ["a ring"])[0].reward, abs=1e-4)
        assert isinstance(judgement.reward, float)
        assert isfinite(judgement.reward)
        assert judgement.details
    reward.check_prompts(["anything", ""])


def test_it_asks_about_groups_with_something_to_tell(groups, learned_large):
    reward, _ = learned_large
    alike = [groups[0][0]] * 8
    assert reward.worth_asking([*alike, *groups[1], *alike], ["a ring", "a cross", "a ring"], 1) == [1]


def test_it_comes_back_from_the_disk_bit_for_bit(groups, learned_large, saved):
    assert sorted(path.name for path in saved.iterdir()) == [TENSORS, ABOUT]
    again = load_preference(saved, SeenFeatures())
    prompts = ["a ring"] * 8
    assert again(groups[0], prompts) == learned_large[0](groups[0], prompts)
    assert json.loads((saved / ABOUT).read_text())["num_groups"] == 12


def test_saving_again_replaces_and_leaves_nothing_half_written(learned_large, saved):
    save_preference(saved, learned_large[0], About(num_groups=13, accuracy=None, calibration_error=None))
    assert [path.name for path in saved.parent.iterdir()] == ["version-1"]
    assert json.loads((saved / ABOUT).read_text())["num_groups"] == 13


def change_facts(folder, **changes):
    facts = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps(facts | changes))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / ABOUT).unlink(), "There is no learned preference in"),
        (lambda folder: (folder / ABOUT).write_text("{"), "is damaged: preference.json cannot be read"),
        (lambda folder: (folder / ABOUT).write_text("[]"), "is damaged: preference.json does not say what it must"),
        (lambda folder: (folder / TENSORS).unlink(), "is damaged: heads.safetensors cannot be read"),
        (lambda folder: (folder / TENSORS).write_bytes(b"\x80\x04K\x01."), "is damaged: heads.safetensors cannot be"),
        (lambda folder: change_facts(folder, sha256="0"), "is damaged: heads.safetensors is not as it was written"),
        (lambda folder: change_facts(folder, format=2), "has the format 2; this lab reads 1"),
        (lambda folder: change_facts(folder, features="clip"), "was learned from features of the kind clip"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(saved, damage, words):
    damage(saved)
    with pytest.raises(RewardError, match=words):
        load_preference(saved, SeenFeatures())


def test_a_preference_is_refused_where_the_encoders_see_otherwise(saved):
    class Blurred(SeenFeatures):
        def __call__(self, pictures, prompts):
            return 1 - super().__call__(pictures, prompts)

    with pytest.raises(RewardError, match="was learned with the encoders of another model"):
        load_preference(saved, Blurred())


def test_the_pipelines_own_features_tell_pictures_and_prompts_apart(model):
    features = PipelineFeatures(model)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*model.picture_size, 3), dtype=np.uint8) for _ in range(2)]
    found = features([pictures[0], pictures[1], pictures[0]], ["a ring", "a ring", "a cross"])
    assert found.shape == (3, len(features.weights()))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert not torch.equal(found[0], found[1])
    assert torch.allclose(found[0, :19], found[2, :19], atol=1e-5)
    assert not torch.equal(found[0], found[2])
    large = np.repeat(np.repeat(pictures[0], 2, axis=0), 2, axis=1)
    assert features([large], ["a ring"]).shape == (1, found.shape[1])


def test_a_picture_in_its_own_size_stays_as_it_is():
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert resized(picture, 4, 4) is picture
    assert (resized(np.full((8, 6, 3), 77, np.uint8), 4, 4) == 77).all()
