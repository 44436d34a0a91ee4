from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.commands import command_from_row, command_to_row
from dgpo_core.errors import StoreError
from dgpo_core.events import Command, Compare, ExamineNow, Pause, Resume, SampleNow, SaveNow, Stop

commands = st.one_of(
    st.sampled_from([Pause(), Resume(), Stop(), SaveNow(), ExamineNow()]),
    st.builds(SampleNow, prompts=st.lists(st.text(), max_size=4).map(tuple), seed=st.integers()),
    st.builds(
        Compare,
        request_id=st.integers(),
        step=st.none() | st.integers(),
        num_prompts=st.integers(),
        seed=st.integers(),
    ),
)


@given(commands)
def test_a_command_comes_back_as_it_was(command):
    assert command_from_row(*command_to_row(command)) == command


def test_every_command_has_a_kind():
    values = {Compare: (1, 2, 3, 4), SampleNow: (("a",), 1)}
    for kind in get_args(Command):
        command = kind(*values.get(kind, ()))
        assert command_from_row(*command_to_row(command)) == command


def test_an_unknown_kind_is_named():
    with pytest.raises(StoreError, match="command 'Dance'; known here: Pause, Resume"):
        command_from_row("Dance", "{}")
