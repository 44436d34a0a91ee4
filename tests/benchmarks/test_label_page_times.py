"""The pictures that the Label page is timed with."""

import pytest

from app.ui.serving import INLINE_BYTES
from benchmarks.label_page import GROUP_SIZE, LARGE_SCALE, posted
from dgpo_core.data.pictures import picture_of


@pytest.mark.parametrize(("scale", "side", "is_inside"), [(1, 64, True), (LARGE_SCALE, 512, False)])
def test_small_pictures_come_inside_the_answer_and_large_ones_by_their_address(scale, side, is_inside):
    (event,) = posted(2, scale)
    pngs = [png for group in event.groups for png in group.pngs]
    assert len(pngs) == 2 * GROUP_SIZE
    assert {picture_of(png).shape for png in pngs} == {(side, side, 3)}
    assert {len(png) <= INLINE_BYTES for png in pngs} == {is_inside}


def test_every_group_has_a_place_of_its_own():
    events = list(posted(12))
    places = [(event.step, group.index) for event in events for group in event.groups]
    assert len(set(places)) == len(places) == 12
