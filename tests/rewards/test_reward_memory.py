"""What rewards weigh, beside what they really load."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from tiny_models import (
    aesthetic_folder,
    bert_tokenizer_files,
    clip_folder,
    image_reward_weights,
    llava_folder,
    mask2former_folder,
)
from torch import nn

from app.recipes import load_recipe
from dgpo_core.config import from_dict
from dgpo_core.reward_names import REWARD_FACTS
from dgpo_core.rewards.catalogue import new_reward
from dgpo_core.rewards.image_reward import TOKENIZER
from dgpo_core.rewards.memory import weights_of_rewards
from dgpo_core.rewards.pretrained import WEIGHTS_FILE
from dgpo_core.rewards.supplies import supplies_of


def config(place, train, evaluation="brightness", **reward):
    return from_dict({"reward": {"train": train, "evaluation": evaluation, "models_folder": str(place), **reward}})


def in_memory(model):
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of tiny models under the names of the real ones, PickScore's not among them."""
    folder = tmp_path_factory.mktemp("rewards")
    clip_folder(folder / REWARD_FACTS["clipscore"].weights)
    aesthetic_folder(folder / REWARD_FACTS["aesthetic"].weights)
    mask2former_folder(folder / REWARD_FACTS["geneval"].weights, ["cat", "dog"])
    llava_folder(folder / REWARD_FACTS["vlm_judge"].weights)
    (folder / REWARD_FACTS["imagereward"].weights).mkdir(parents=True)
    save_file(image_reward_weights(num_words=40), folder / REWARD_FACTS["imagereward"].weights / WEIGHTS_FILE)
    bert_tokenizer_files(folder / TOKENIZER)
    return folder


def loaded_by(name, settings):
    """Bytes of the models that a reward really loads."""
    reward = new_reward(name, supplies_of(settings, Path(), {}))
    model = {
        "clipscore": lambda: reward._model,
        "aesthetic": lambda: reward._parts[0],
        "vlm_judge": lambda: reward._mouth._model,
        "imagereward": lambda: nn.ModuleList(reward._parts),
    }
    return in_memory(model[name]())


@pytest.mark.parametrize("name", ["clipscore", "aesthetic", "imagereward", "vlm_judge"])
def test_a_reward_weighs_what_it_loads(name, place):
    settings = config(place, name)
    found = weights_of_rewards(settings)
    assert (found.num_bytes, found.uncounted) == (loaded_by(name, settings), ())


def test_geneval_weighs_its_detector_and_clip(place):
    alone = weights_of_rewards(config(place, "clipscore")).num_bytes
    both = weights_of_rewards(config(place, "geneval"))
    assert both.num_bytes > alone > 0


def looked_with(name, supplies):
    """The networks of a reward, once it has loaded them."""
    reward = new_reward(name, supplies)
    if name in ("vlm_judge", "vlm_quality"):
        return [reward._mouth._model]
    if name == "clipscore":
        return [reward._model]
    return [reward._detect.__self__._parts[1], reward._name_color.__self__._parts[2]]


@pytest.mark.parametrize(
    ("train", "evaluation", "watch", "num_networks"),
    [
        ("geneval", "geneval_strict", "sharpness", 2),
        ("geneval", "geneval_strict", "clipscore, colourfulness", 2),
        ("clipscore + geneval", "clipscore", "vlm_judge", 3),
        ("vlm_judge", "vlm_quality", "", 1),
    ],
)
def test_a_model_that_several_rewards_look_with_is_loaded_and_counted_once(
    train, evaluation, watch, num_networks, place
):
    settings = config(place, train, evaluation, watch=watch)
    supplies = supplies_of(settings, Path(), {})
    heavy = sorted(name for name in settings.reward.names if REWARD_FACTS[name].weights)
    networks = {id(one): one for name in heavy for one in looked_with(name, supplies)}
    assert len(networks) == num_networks
    assert weights_of_rewards(settings).num_bytes == sum(map(in_memory, networks.values()))


@pytest.mark.parametrize("mode", ["1", "2a", "2b"])
@pytest.mark.parametrize("task", ["geneval", "ocr", "pickscore"])
def test_the_papers_recipes_load_nothing_for_what_they_report_and_watch(task, mode, place):
    reward = load_recipe(f"sd35m-{task}-mode-{mode}").reward
    all_of_them, trained = (
        weights_of_rewards(config(place, reward.train, evaluation, watch=watch))
        for evaluation, watch in ((reward.evaluation, reward.watch), (reward.train, ""))
    )
    assert all_of_them == trained


def test_runs_share_no_model(place):
    settings = config(place, "clipscore")
    one, other = (looked_with("clipscore", supplies_of(settings, Path(), {})) for _ in range(2))
    assert one[0] is not other[0]


def test_a_reward_that_is_named_twice_is_loaded_and_counted_once(place):
    one, two = (weights_of_rewards(config(place, "clipscore", other)) for other in ("sharpness", "clipscore"))
    assert two.num_bytes == one.num_bytes


def test_of_offloaded_rewards_only_the_largest_is_there_at_a_time(place):
    clip, aesthetic = (weights_of_rewards(config(place, name)).num_bytes for name in ("clipscore", "aesthetic"))
    both = weights_of_rewards(config(place, "clipscore + aesthetic", models="offload"))
    assert both.num_bytes == max(clip, aesthetic)


def test_what_needs_no_model_weighs_nothing(place):
    assert weights_of_rewards(config(place, "shapes_partial", watch="sharpness")).num_bytes == 0
    behind_a_server = weights_of_rewards(config(place, "vlm_judge", server="http://127.0.0.1:1/v1"))
    assert (behind_a_server.num_bytes, behind_a_server.uncounted) == (0, ())


def test_what_cannot_be_known_is_named_and_the_rest_counted(place):
    found = weights_of_rewards(config(place, "ocr*0.5 + mine.py:red", "pickscore", watch="clipscore, ocr"))
    assert found.uncounted == ("ocr", "mine.py:red", "pickscore")
    assert found.num_bytes == weights_of_rewards(config(place, "clipscore")).num_bytes


def test_a_model_of_the_hub_that_was_never_fetched_is_named():
    assert weights_of_rewards(from_dict({"reward": {"train": "hpsv2"}})).uncounted == ("hpsv2",)


def test_what_learns_from_labels_weighs_the_clip_that_it_sees_with(place, tmp_path):
    clip_folder(tmp_path / "clip")
    reward = {"train": "preference", "evaluation": "brightness"}
    seen = from_dict({"reward": reward, "people": {"preference": "somewhere", "clip_folder": "clip"}})
    plain = from_dict({"reward": reward, "people": {"preference": "somewhere"}})
    clip = weights_of_rewards(config(place, "clipscore")).num_bytes
    assert [weights_of_rewards(one, tmp_path).num_bytes for one in (seen, plain)] == [clip, 0]


def test_the_clip_of_what_learns_from_labels_is_a_copy_of_its_own(place):
    own = {"preference": "somewhere", "clip_folder": str(place / REWARD_FACTS["clipscore"].weights)}
    both = {"train": "preference", "evaluation": "clipscore", "models_folder": str(place)}
    clip = weights_of_rewards(config(place, "clipscore")).num_bytes
    assert weights_of_rewards(from_dict({"reward": both, "people": own})).num_bytes == 2 * clip
