"""Text, bytes and ragged columns: what comes out is what went in, and what the manifest says of them is right."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.infer import TypingOptions
from distmtl.data.manifest import LengthStatistics, manifest_from_bytes, manifest_to_bytes
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.errors import SourceError
from tests.data.ingest.inputs import CutInput


def column(source: Source, name: str) -> list[Any]:
    part = source.split("train")
    return [value for block in range(part.blocks) for value in part.read_block(block, [name])[name].to_pylist()]


def numbers(source: Source, name: str) -> list[Any]:
    """The rows of a ragged column as lists."""
    dtype = np.dtype(source.column(name).dtype).newbyteorder("<")
    return [None if value is None else np.frombuffer(value, dtype).tolist() for value in column(source, name)]


def packed(table: pa.Table, folder: Path, options: PackOptions | None = None, cuts: Sequence[int] = ()) -> Source:
    if options is None:
        names = tuple(name for name in table.column_names if name == "note")
        options = PackOptions(order="keep", typing=TypingOptions(text=names))
    pack({"train": [CutInput(table, tuple(cuts))]}, str(folder), options)
    source = open_source(str(folder))
    assert manifest_from_bytes(manifest_to_bytes(source.manifest), "") == source.manifest
    return source


TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=20)
BYTES = st.lists(st.none() | st.binary(max_size=9), min_size=1, max_size=20)
RAGGED = st.lists(st.none() | st.lists(st.integers(-(2**40), 2**40), max_size=5), min_size=1, max_size=20).filter(
    lambda rows: len({len(row) for row in rows if row is not None}) > 1
)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, binary=BYTES, lists=RAGGED, cut=st.integers(1, 20))
def test_values_survive(texts: list[Any], binary: list[Any], lists: list[Any], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        for i, (column_name, values, kind) in enumerate(
            [("note", texts, pa.large_string()), ("raw", binary, pa.binary()), ("list", lists, pa.list_(pa.int64()))]
        ):
            table = pa.table({column_name: pa.array(values, kind)})
            source = packed(table, Path(name) / str(i), cuts=[cut])
            found = numbers(source, "list") if column_name == "list" else column(source, column_name)
            assert found == values
            lengths = [len(v.encode() if isinstance(v, str) else v) for v in values if v is not None]
            mean = sum(lengths) / len(lengths) if lengths else 0.0
            assert source.manifest.splits["train"].statistics[column_name] == LengthStatistics(
                values.count(None), mean, max(lengths, default=0), sum(lengths)
            )


@pytest.mark.parametrize(
    ("kind", "dtype", "values"),
    [
        (pa.list_(pa.int32()), "int32", [[1], [2, 3], [], None]),
        (pa.large_list(pa.uint8()), "uint8", [[1], [2, 255]]),
        (pa.list_(pa.uint16()), "int32", [[1], [2, 65535]]),
        (pa.list_(pa.float64()), "float32", [[0.5], [0.25, 1.0]]),
        (pa.list_(pa.float64()), "float64", [[1e300], [0.1, 1.0]]),
        (pa.list_(pa.float32()), "float32", [[], []]),
        (pa.list_(pa.bool_()), "bool", [[True], [False, True]]),
    ],
)
def test_ragged_numbers(tmp_path: Path, kind: pa.DataType, dtype: str, values: list[Any]) -> None:
    array = pa.array([[9], *values], kind)[1:] if dtype != "bool" else pa.array(values, kind)  # offsets count
    source = packed(pa.table({"x": array}), tmp_path / "out")
    found = source.column("x")
    assert (found.kind, found.dtype) == ("ragged", dtype)
    assert numbers(source, "x") == values


def test_a_ragged_column_is_ragged_again_when_its_shards_are_packed(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([[1], [2, 3], None], pa.list_(pa.int16()))})
    first = packed(table, tmp_path / "one")
    shard = next((tmp_path / "one").rglob("*.parquet"))
    pack({"train": [str(shard)]}, str(tmp_path / "two"), PackOptions(order="keep"))
    second = open_source(str(tmp_path / "two"))
    assert (second.column("x").kind, second.column("x").dtype) == ("ragged", "int16")
    assert numbers(second, "x") == numbers(first, "x") == [[1], [2, 3], None]


def test_strings_that_are_no_names_are_text(tmp_path: Path) -> None:
    rows = 2002
    table = pa.table(
        {
            "names": [f"n{i % 1000}" for i in range(rows)],
            "halves": [f"h{i // 2}" for i in range(rows)],  # 1,001 distinct: no more than half of the rows
            "texts": [f"t{i - i % 3}" if i % 3 == 1 else f"t{i}" for i in range(rows)],
            "chosen": [f"c{i}" for i in range(rows)],
        }
    )
    notes: list[str] = []
    options = PackOptions(typing=TypingOptions(categorical=("chosen",)))
    pack({"train": [CutInput(table, (5, 1000))]}, str(tmp_path / "out"), options, notes.append)
    kinds = {column.name: column.kind for column in open_source(str(tmp_path / "out")).manifest.columns}
    assert kinds == {"names": "categorical", "halves": "categorical", "texts": "text", "chosen": "categorical"}
    assert any("column 'texts' is text; if it holds names, give --categorical texts" in note for note in notes)
    assert any("column 'chosen' has 2002 values" in note for note in notes)


def test_more_words_than_a_vocabulary_are_text(tmp_path: Path) -> None:
    table = pa.table({"x": [f"w{i % 1500}" for i in range(9000)]})
    for limit, kind in ((1500, "categorical"), (1499, "text"), (7, "text")):
        source = packed(table, tmp_path / str(limit), PackOptions(max_vocabulary=limit))
        assert source.column("x").kind == kind


def test_too_many_words_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.ingest.prepare.WORDS_LIMIT", 10)
    table = pa.table({"x": [f"w{i}" for i in range(50)]})
    with pytest.raises(SourceError, match=r"'x' has more than 10 distinct values.*--text x"):
        packed(table, tmp_path / "out", PackOptions(max_vocabulary=5, typing=TypingOptions(categorical=("x",))))


def test_lists_of_one_length_with_nulls_are_not_ragged(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64()))})
    with pytest.raises(SourceError, match="1 nulls; a tensor has none"):
        packed(table, tmp_path / "out")
