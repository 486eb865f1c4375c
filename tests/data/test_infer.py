"""Kinds and values of columns, from text and from typed files."""

import datetime as dt
import decimal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distmtl.data.infer import TypingOptions, check_options
from distmtl.data.ingest.convert import convert
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.scanners import scanner
from distmtl.data.tensors import TensorLayout, parse_layout
from distmtl.errors import SourceError


@dataclass(frozen=True)
class Typed:
    """A column as it would be stored; a categorical one has its words."""

    type: ColumnType
    array: Any

    @property
    def kind(self) -> str:
        return self.type.kind

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """The rows of a tensor ``[N, *shape]``."""
        flat = np.frombuffer(b"".join(self.array.to_pylist()), self.type.dtype)
        return flat.reshape(-1, *self.type.shape)


def find(data: pa.ChunkedArray, *, text: bool, options: TypingOptions) -> Typed:
    """Type a column whose chunks are the batches of one input each."""
    field = pa.field("x", data.type.value_type if pa.types.is_dictionary(data.type) else data.type)
    chunks = [chunk.cast(field.type) for chunk in data.chunks]
    found = None
    for known_words in (False, True):
        whole = None
        for chunk in chunks:
            mine = scanner(field, text=text, options=options, limit=1000, known_words=known_words)
            mine.add(chunk)
            mine.finish()
            if whole is None:
                whole = mine
            else:
                whole.merge(mine)
        assert whole is not None
        found = whole.decide(len(data))
        if found is not None:
            break
    assert found is not None
    return Typed(found, pa.concat_arrays([convert(found, chunk, options.nulls) for chunk in chunks]))


def typed(values: object, kind: object = None, **options: object) -> Typed:
    data = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, kind)])
    return find(data, text=False, options=TypingOptions(**options))  # type: ignore[arg-type]


def cells(*words: str, **options: object) -> Typed:
    data = pa.chunked_array([pa.array(words, pa.string())])
    return find(data, text=True, options=TypingOptions(**options))  # type: ignore[arg-type]


def plain(column: Typed) -> list[object]:
    """The values as Python objects, None for null."""
    found: list[object] = column.array.to_pylist()
    return found


@pytest.mark.parametrize(
    ("words", "kind", "dtype", "values"),
    [
        (["1", " 2 ", ""], "numeric", "int32", [1, 2, None]),
        (["1", "-3000000000"], "numeric", "int64", [1, -3_000_000_000]),
        (["1", "2.5", "NA"], "numeric", "float32", [1.0, 2.5, None]),
        (["1e3", "nan", "NAN"], "numeric", "float32", [1000.0, None, None]),
        (["1", "inf"], "numeric", "float32", [1.0, float("inf")]),
        (["true", "False", "?"], "numeric", "int32", [1, 0, None]),
        (["1970-01-02", "1970-01-01"], "numeric", "int32", [86400, 0]),
        (["1970-01-01T00:00:01Z", "null"], "numeric", "int32", [1, None]),
        (["", "NA"], "numeric", "float32", [None, None]),
        (["a", " b", "?"], "categorical", "int32", ["a", "b", None]),
        (["01234", "99999"], "categorical", "int32", ["01234", "99999"]),
        (["0x1F", "2"], "categorical", "int32", ["0x1F", "2"]),
        (["99999999999999999999", "5"], "categorical", "int32", ["99999999999999999999", "5"]),
        (["0", "0.5", "-0.25"], "numeric", "float32", [0.0, 0.5, -0.25]),
    ],
)
def test_text(words: list[str], kind: str, dtype: str, values: list[object]) -> None:
    column = cells(*words)
    assert (column.kind, column.dtype, plain(column)) == (kind, dtype, values)


def test_null_words_can_be_chosen() -> None:
    assert plain(cells("NA", "-", "x", nulls=("-",))) == ["NA", None, "x"]


def test_overrides() -> None:
    assert plain(cells("01", "02", categorical=("x",))) == ["01", "02"]
    assert plain(cells("01", "2", "", numeric=("x",))) == [1, 2, None]
    assert plain(typed([1.0, None, 2.0], categorical=("x",))) == ["1", None, "2"]
    assert plain(typed([1.5, float("nan")], categorical=("x",))) == ["1.5", None]
    assert plain(typed([True, False], categorical=("x",))) == ["true", "false"]
    assert plain(typed([" 1", "2.5", "NA"], numeric=("x",))) == [1.0, 2.5, None]
    with pytest.raises(SourceError, match="'two'"):
        typed(["1", "two"], numeric=("x",))


DAY = dt.datetime(2024, 2, 29, 12, 0, 0, 500_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "expected"),
    [
        ([True, None, False], None, "int32", [1, None, 0]),
        ([1, 2], pa.uint8(), "int32", [1, 2]),
        ([2**31, 0], pa.uint32(), "int64", [2**31, 0]),
        ([2**53 + 1, -(2**63)], pa.int64(), "int64", [2**53 + 1, -(2**63)]),
        ([0.5, None], pa.float16(), "float32", [0.5, None]),
        ([0.5, float("nan")], pa.float64(), "float32", [0.5, None]),
        ([1e300, 1.0], pa.float64(), "float64", [1e300, 1.0]),
        ([1.7e9 + 0.25, 1.7e9 + 0.5], pa.float64(), "float64", [1.7e9 + 0.25, 1.7e9 + 0.5]),
        ([decimal.Decimal("1.50"), None], pa.decimal128(5, 2), "float32", [1.5, None]),
        ([dt.date(1970, 1, 3), None], pa.date32(), "int32", [172800, None]),
        ([DAY], pa.timestamp("us", "Europe/Berlin"), "float64", [DAY.timestamp()]),
        ([dt.timedelta(seconds=1.5)], pa.duration("ms"), "float32", [1.5]),
        ([dt.time(1, 0, 1)], pa.time32("s"), "int32", [3601]),
        ([None, None], pa.null(), "float32", [None, None]),
    ],
)
def test_typed_numbers(values: list[object], kind: object, dtype: str, expected: list[object]) -> None:
    column = typed(values, kind)
    assert (column.kind, column.dtype, plain(column)) == ("numeric", dtype, expected)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_typed_strings(kind: pa.DataType) -> None:
    chunks = [pa.array([" a", None, ""]).cast(kind), pa.array(["b", " a"]).cast(kind)]
    column = typed(pa.chunked_array(chunks))
    assert column.kind == "categorical"
    assert plain(column) == [" a", None, "", "b", " a"]


def test_float32_keeps_values_apart() -> None:
    assert typed(np.linspace(0, 1, 1000)).dtype == "float32"
    assert typed(1e9 + np.linspace(0, 1, 1000)).dtype == "float64"


@pytest.mark.parametrize(
    ("values", "kind", "shape", "dtype"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64()), (2,), "float32"),
        ([[1, 2], [3, 4]], pa.list_(pa.uint8(), 2), (2,), "uint8"),
        ([[1, 2], [3, 4]], pa.large_list(pa.uint16()), (2,), "int32"),
        ([[[1], [2], [3]], [[4], [5], [6]]], pa.list_(pa.list_(pa.int64())), (3, 1), "int64"),
        ([[True], [False]], pa.list_(pa.bool_()), (1,), "bool"),
        ([b"abcd", b"efgh"], pa.binary(4), (4,), "uint8"),
    ],
)
def test_tensors(values: list[object], kind: pa.DataType, shape: tuple[int, ...], dtype: str) -> None:
    array = pa.array(values, kind)
    column = typed(pa.chunked_array([array.slice(0, 1), array.slice(1)]))  # sliced: offsets count
    assert (column.kind, column.type.shape, column.dtype) == ("tensor", shape, dtype)
    expected = np.array([list(v) if isinstance(v, bytes) else v for v in values])
    np.testing.assert_array_equal(column.values, expected)


def test_tensor_extension_type() -> None:
    array = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    assert typed(pa.chunked_array([array])).type.shape == (2, 3)


def test_layout_of_binary_column() -> None:
    layout = parse_layout("int16:2x1")
    assert layout == TensorLayout("int16", (2, 1))
    raw = np.array([[1, -2], [300, 4]], "<i2")
    column = typed([row.tobytes() for row in raw], pa.binary(), tensors={"x": layout})
    np.testing.assert_array_equal(column.values, raw.reshape(2, 2, 1))


@pytest.mark.parametrize("text", ["", "uint8", "uint8:", "uint8:0", "uint8:2x", "complex64:2", "uint8:-1", "uint8:2,3"])
def test_bad_layouts(text: str) -> None:
    with pytest.raises(SourceError, match="tensor layout"):
        parse_layout(text)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([{"a": 1}], pa.struct([("a", pa.int64())]), "struct"),
        ([[("a", 1)]], pa.map_(pa.string(), pa.int64()), "map"),
        ([[[1], [2, 3]]], pa.list_(pa.list_(pa.int64())), r"differ in length: \[1\], \[2\]"),
        ([[[1]], [[1], [2]]], pa.list_(pa.list_(pa.int64())), r"differ in length: \[1, 1\], \[2, 1\]"),
        ([[1], None], pa.list_(pa.int64()), "1 nulls"),
        ([[1, None]], pa.list_(pa.int64()), "1 nulls"),
        ([["a"]], pa.list_(pa.string()), "lists of string"),
        ([2**64 - 1], pa.uint64(), "--categorical x"),
    ],
)
def test_what_cannot_be_packed(values: list[object], kind: pa.DataType, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        typed(values, kind)
    assert "'x'" in str(caught.value)
    assert caught.value.remedy


def test_options_name_columns() -> None:
    with pytest.raises(SourceError, match="Did you mean 'income'"):
        check_options(TypingOptions(drop=("incom",)), ["age", "income"])
    with pytest.raises(SourceError, match="both --categorical and --drop"):
        check_options(TypingOptions(categorical=("age",), drop=("age",)), ["age"])
