"""Rows as Python dicts."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.importers import RowsInput
from distmtl.data.importers.base import BATCH_BYTES
from distmtl.errors import SourceError


def rows_of(raw: RowsInput) -> list[dict[str, object]]:
    batches = list(raw.batches())
    assert all(batch.schema.equals(raw.schema) for batch in batches)
    assert all(batch.nbytes <= BATCH_BYTES or batch.num_rows == 1 for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def test_types() -> None:
    rows = [
        {"n": 1, "inner": {"a": "x"}, "image": np.zeros((1, 2), np.uint8), "ids": [1, 2], "day": date(2020, 1, 1)},
        {"n": 2.5, "inner": None, "image": np.full((2, 2), 7, np.uint8), "ids": np.array([3]), "f": np.float32(0.5)},
        {"n": None, "bytes": b"\x00", "image": None, "ids": (), "f": np.float32(1)},
    ]
    raw = RowsInput(lambda: iter(rows))
    assert dict(zip(raw.schema.names, raw.schema.types, strict=True)) == {
        "n": pa.float64(),
        "inner.a": pa.string(),
        "image": pa.list_(pa.list_(pa.uint8())),
        "ids": pa.list_(pa.int64()),
        "day": pa.date32(),
        "f": pa.float32(),
        "bytes": pa.binary(),
    }
    found = rows_of(raw)
    assert [row["image"] for row in found] == [[[0, 0]], [[7, 7], [7, 7]], None]
    assert [row["ids"] for row in found] == [[1, 2], [3], []]
    assert [row["n"] for row in found] == [1.0, 2.5, None]
    assert [row["inner.a"] for row in found] == ["x", None, None]


@settings(deadline=None)
@given(st.data())
def test_arrays_of_any_shape(data: st.DataObject) -> None:
    axes = data.draw(st.integers(1, 3))
    shapes = data.draw(st.lists(st.none() | st.tuples(*[st.integers(0, 3)] * axes), min_size=1, max_size=6))
    arrays = [None if shape is None else np.random.default_rng(0).random(shape) for shape in shapes]
    found = rows_of(RowsInput(lambda: ({"i": 1, "a": array} for array in arrays)))
    assert [row["a"] for row in found] == [None if array is None else array.tolist() for array in arrays]


def test_a_generator_is_read_lazily_and_once_for_each_pass() -> None:
    given_out = 0
    passes = 0

    def rows() -> Iterator[dict[str, object]]:
        nonlocal given_out, passes
        passes += 1
        given_out = 0
        for i in range(100):
            given_out += 1
            yield {"i": i, "data": bytes(BATCH_BYTES // 10)}

    raw = RowsInput(rows)
    assert raw.schema.names == ["i", "data"]
    batches = raw.batches()
    first = next(batches)
    assert given_out <= 12
    assert first.num_rows + sum(batch.num_rows for batch in batches) == 100
    assert passes == 2


def test_the_fingerprint_is_of_the_content() -> None:
    def fingerprint(*rows: dict[str, object]) -> str:
        return RowsInput(lambda: iter(rows)).fingerprint()

    row = {"a": 1, "b": "x", "c": [1, 2], "d": None, "e": b"12", "f": np.ones((2, 2)), "g": True, "h": date(2020, 1, 1)}
    assert fingerprint(row) == fingerprint(dict(row))
    changes: dict[str, object] = {
        "a": 2, "b": "y", "c": [1, 3], "d": 0, "e": b"13", "f": np.zeros((2, 2)), "g": False, "h": date(2020, 1, 2)
    }  # fmt: skip
    others = [fingerprint(row | {name: value}) for name, value in changes.items()]
    assert len({fingerprint(row), fingerprint(row, row), *others}) == len(changes) + 2
    assert fingerprint({"s": "ab"}, {"s": "c"}) != fingerprint({"s": "a"}, {"s": "bc"})
    assert fingerprint({"s": ""}, {"s": None}) != fingerprint({"s": None}, {"s": ""})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, {"a": "x"}], "row 2: 'a' is a string, but a number in a row before"),
        ([{"a": 1}, {"a": [1, "x"]}], "row 2: the elements of 'a' differ"),
        ([{"a": 1}, {"a": object()}], "row 2: 'a' is of type object"),
        ([{"a": {"b": 1}}, {"a": 3}], "'a' is a number in some rows and a dict in others"),
        ([{"a": 2**70}], "row 1: 'a' is of type int, which cannot be packed"),
        ([{"a": 1}, (1, 2)], "row 2 is of type tuple, not a dict"),
        ([{"": 1}], "column 1 has no name"),
        ([], "no rows"),
    ],
)
def test_rows_that_do_not_fit(rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        list(RowsInput(lambda: rows, path="orders").batches())
    assert caught.value.where == "orders"


def test_dropped_columns_may_hold_anything() -> None:
    rows = [{"a": 1, "b": object()}, {"a": 2, "b": 3}]
    assert rows_of(RowsInput(lambda: rows, drop=("b",))) == [{"a": 1, "b": None}, {"a": 2, "b": None}]
