"""CSV that no spreadsheet takes for formulas."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exchange.spreadsheet import escaped, read_rows, unescaped, write_rows
from dgpo_core.errors import ExchangeError

FULL_WIDTH = "\uff1d\uff0b\uff0d\uff20"
"""The signs for equals, plus, minus and at as East Asian keyboards write them."""
cells = st.text(st.sampled_from(f"'=+-@{FULL_WIDTH}\0\t\ra1 \"\n,"), max_size=6) | st.text(
    st.characters(exclude_categories=["Cs"])
)


@given(cells)
def test_what_is_escaped_is_no_formula_and_comes_back(cell):
    assert not escaped(cell).startswith(("=", "+", "-", "@", "\0", "\t", "\r", "\n", *FULL_WIDTH))
    assert unescaped(escaped(cell)) == cell


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\0x", "\tx", "\rx", "\nx", "'=1", "''-1", "'\n=1"),
        *(f"{sign}1" for sign in FULL_WIDTH),
    ],
)
def test_cells_that_a_spreadsheet_would_calculate_are_escaped(cell):
    assert escaped(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["'tis a cat", "a = b", "", "7", "''"])
def test_other_cells_stay_as_they_are_both_ways(cell):
    assert escaped(cell) == unescaped(cell) == cell


HOSTILE = ['=HYPERLINK("x")', "-0.5", "\n=1", "\uff1d1", "'\uff0b1", 'two\r\nlines, "quoted"', "\u202e 🦊", "'=1", ""]


def test_rows_come_back_from_the_file_and_none_is_an_empty_cell(tmp_path):
    file = tmp_path / "rows.csv"
    write_rows(file, ("prompt", "reward"), [{"prompt": text, "reward": None} for text in HOSTILE])
    assert [row for _, row in read_rows(file, ("prompt",))] == [{"prompt": text, "reward": ""} for text in HOSTILE]
    with file.open(newline="") as opened:
        assert not any(cell.startswith(("=", "-", "\n", *FULL_WIDTH)) for row in csv.reader(opened) for cell in row)


def test_numbers_below_zero_stay_numbers(tmp_path):
    file = tmp_path / "rows.csv"
    write_rows(file, ("reward", "prompt"), [{"reward": -0.5, "prompt": "-0.5"}, {"reward": 3, "prompt": "+1"}])
    assert file.read_text().splitlines() == ["reward,prompt", "-0.5,'-0.5", "3,'+1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"prompt,score\nx,1\n", "lacks the columns file; it has prompt, score"),
        (b"", "lacks the columns prompt, file; it has none"),
        (b"\xff\xfe", "cannot be read as CSV in UTF-8"),
        (b'prompt,file\n"x', "cannot be read as CSV in UTF-8"),
    ],
)
def test_what_is_no_such_table_is_said(tmp_path, text, words):
    (tmp_path / "rows.csv").write_bytes(text)
    with pytest.raises(ExchangeError, match=words):
        read_rows(tmp_path / "rows.csv", ("prompt", "file"))
