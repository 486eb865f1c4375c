"""Rows of differing length against lists of lists."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.transforms.ragged import Ragged, side_by_side

ROWS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9), max_size=8)


def lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[i : i + 1].values.tolist() for i in range(len(ragged))]


@given(ROWS, st.integers(0, 8), st.integers(0, 8))
def test_rows_are_as_given(rows: list[list[int]], start: int, stop: int) -> None:
    ragged = Ragged.of(rows)
    assert lists(ragged) == rows
    assert lists(ragged[start:stop]) == rows[start:stop]
    assert ragged.lengths.tolist() == [len(row) for row in rows]


@given(ROWS, st.integers(0, 9), st.data())
def test_cutting(rows: list[list[int]], length: int, data: st.DataObject) -> None:
    ragged = Ragged.of(rows)
    assert lists(ragged.cut(length)) == [row[:length] for row in rows]
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows)))
    cut = ragged.cut(np.array(lengths, np.int64))
    assert lists(cut) == [row[:n] for row, n in zip(rows, lengths, strict=True)]


@given(ROWS, st.integers(-3, 3))
def test_padding(rows: list[list[int]], pad: int) -> None:
    padded = Ragged.of(rows).padded(pad, np.int64)
    longest = max([1, *map(len, rows)])
    assert padded.shape == (len(rows), longest)
    assert padded.tolist() == [row + [pad] * (longest - len(row)) for row in rows]


@given(st.lists(st.tuples(*[st.lists(st.integers(0, 9), max_size=4)] * 3), max_size=6))
def test_side_by_side(rows: list[tuple[list[int], ...]]) -> None:
    parts = [Ragged.of([row[place] for row in rows]) for place in range(3)]
    assert lists(side_by_side(parts)) == [a + b + c for a, b, c in rows]
    assert lists(side_by_side([part[1:] for part in parts])) == [a + b + c for a, b, c in rows[1:]]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_what_a_source_stores(dtype: str, kind: pa.DataType) -> None:
    rows = [[1, 2, 3], None, [], [4], [5, 6]]
    cells = [None if row is None else np.array(row, np.dtype(dtype).newbyteorder("<")).tobytes() for row in rows]
    array = pa.array(cells, kind)
    expected = [row or [] for row in rows]
    ragged = Ragged.from_binary(array, dtype)
    assert ragged.values.dtype == dtype
    assert lists(ragged) == expected
    assert lists(Ragged.from_binary(array[3:5], dtype)) == expected[3:5]
    assert lists(Ragged.from_binary(array[1:1], dtype)) == []
    assert lists(Ragged.from_binary(array[1:2], dtype)) == [[]]
    assert lists(Ragged.from_binary(pa.array([], kind), dtype)) == []


def test_bytes_that_are_no_whole_numbers() -> None:
    with pytest.raises(ValueError, match="no whole number of int32"):
        Ragged.from_binary(pa.array([b"12345"]), "int32")
