import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgpo_core.errors import LabelError
from dgpo_core.label import Likes, Pairs, PairVerdict, Picks, Ranking, Skip, Stars, label_from_row, label_to_row

SIZE = 4
members = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=SIZE, unique=True)
verdicts = st.builds(
    lambda pair, verdict: PairVerdict(*pair, verdict),
    st.permutations(range(SIZE)).map(lambda order: order[:2]),
    st.sampled_from(["first", "second", "both", "neither"]),
)
labels = st.one_of(
    members.map(lambda order: Ranking(tuple((one,) for one in order))),
    members.map(lambda order: Ranking((tuple(order),))),
    members.map(lambda best: Picks(tuple(best))),
    members.map(lambda order: Likes(tuple(order[:1]), tuple(order[1:]))),
    st.lists(st.none() | st.integers(1, 5), min_size=SIZE, max_size=SIZE)
    .filter(lambda stars: any(one is not None for one in stars))
    .map(lambda stars: Stars(tuple(stars))),
    st.lists(verdicts, min_size=1, max_size=6, unique_by=lambda one: frozenset((one.first, one.second))).map(
        lambda every: Pairs(tuple(every))
    ),
    st.just(Skip()),
)


@given(labels)
def test_a_label_survives_being_stored(label):
    kind, body = label_to_row(label)
    assert label_from_row(kind, json.loads(json.dumps(body)), SIZE) == label


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("dance", {}, "no label of the kind 'dance'. Kinds: ranking, picks"),
        ("ranking", [], "must have a body"),
        ("ranking", {"tiers": 3}, "tiers must be a list, got '3'"),
        ("ranking", {"tiers": []}, "at least one picture in every tier"),
        ("ranking", {"tiers": [[0], []]}, "at least one picture in every tier"),
        ("ranking", {"tiers": [[0], [0]]}, "names each picture once, got 1 twice"),
        ("ranking", {"tiers": [[4]]}, "numbered 1 to 4"),
        ("ranking", {"tiers": [[True]]}, "numbered 1 to 4"),
        ("picks", {"best": []}, "Pick at least one picture, or skip"),
        ("picks", {}, "numbered 1 to 4, got None"),
        ("likes", {"liked": [], "disliked": []}, "Like or dislike at least one"),
        ("likes", {"liked": [1], "disliked": [1]}, "got 2 twice"),
        ("stars", {"stars": [1, 2]}, "Stars must be 4 numbers from 1 to 5"),
        ("stars", {"stars": [1, 2, 6, None]}, "Stars must be 4 numbers from 1 to 5"),
        ("stars", {"stars": [None] * 4}, "Give stars to at least one"),
        ("pairs", {"verdicts": []}, "Judge at least one pair"),
        ("pairs", {"verdicts": [{"first": 0, "second": 0, "verdict": "first"}]}, "two pictures, got 1 twice"),
        ("pairs", {"verdicts": [{"first": 0, "second": 1, "verdict": "left"}]}, "one of first, second, both, neither"),
        (
            "pairs",
            {
                "verdicts": [
                    {"first": 0, "second": 2, "verdict": "first"},
                    {"first": 2, "second": 0, "verdict": "first"},
                ]
            },
            "judges each pair once, got pictures 1 and 3 twice",
        ),
    ],
)
def test_a_label_that_says_nothing_or_nonsense_is_refused_in_a_sentence(kind, body, words):
    with pytest.raises(LabelError) as refused:
        label_from_row(kind, body, SIZE)
    assert words in str(refused.value)
