"""Parquet, Arrow IPC and Feather: any types, row groups and batches of any size."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.importers.base import BATCH_BYTES
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of, table_of

TABLE = pa.table(
    {
        "x": pa.array([1, None, 3], pa.int16()),
        "word": pa.array(["a", "b", None]).dictionary_encode(),
        "list": [[1, 2], [], None],
        "inner": [{"a": 1, "b": {"c": "x"}}, None, {"a": 2, "b": None}],
        "day": [date(2020, 1, 1), None, None],
        "view": pa.array(["q", None, "r"], pa.string_view()),
    }
)
ROWS = [
    {"x": 1, "word": "a", "list": [1, 2], "inner.a": 1, "inner.b.c": "x", "day": date(2020, 1, 1), "view": "q"},
    {"x": None, "word": "b", "list": [], "inner.a": None, "inner.b.c": None, "day": None, "view": None},
    {"x": 3, "word": None, "list": None, "inner.a": 2, "inner.b.c": None, "day": None, "view": "r"},
]


def write(path: Path, table: pa.Table, rows: int = 1 << 20) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, row_group_size=rows)
        case ".feather":
            pyarrow.feather.write_feather(table, str(path), chunksize=rows)
        case ".stream":
            path = path.with_suffix(".arrow")
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=rows)
        case _:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=rows)
    return path


ENDINGS = pytest.mark.parametrize("ending", ["parquet", "arrow", "stream", "feather"])


@ENDINGS
def test_types(tmp_path: Path, ending: str) -> None:
    table = TABLE if ending != "parquet" else TABLE.drop_columns(["view"])
    raw = opened(write(tmp_path / f"a.{ending}", table))
    assert rows_of(raw) == [{name: row[name] for name in raw.schema.names} for row in ROWS]
    assert raw.schema.field("word").type == pa.string()
    assert not raw.text


@ENDINGS
@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=20), group=st.integers(1, 7))
def test_groups_of_any_size_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, ending: str, sizes: list[int], group: int
) -> None:
    table = pa.table({"i": range(len(sizes)), "b": [bytes([i % 256]) * size for i, size in enumerate(sizes)]})
    path = write(tmp_path_factory.mktemp("x") / f"a.{ending}", table, group)
    assert table_of(opened(path)).equals(table)


@ENDINGS
def test_rows_larger_than_a_batch(tmp_path: Path, ending: str) -> None:
    large = [b"x" * (BATCH_BYTES + 1), b"", b"y" * (BATCH_BYTES // 2), b"z" * BATCH_BYTES]
    table = pa.table({"b": large * 2})
    raw = opened(write(tmp_path / f"a.{ending}", table))
    assert table_of(raw)["b"].to_pylist() == large * 2
    assert len(list(raw.batches())) >= 6


def test_a_large_row_group_is_read_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.parquet"
    table = pa.table({"b": [rng.bytes(100_000) for _ in range(1280)]})
    # Pages are read whole; these are of 1 MB.
    pq.write_table(table, path, use_dictionary=False, write_batch_size=10)
    del table
    before = pa.total_allocated_bytes()
    peak = 0
    for batch in opened(path).batches():
        peak = max(peak, pa.total_allocated_bytes() - before)
        assert batch.num_rows < 100
    assert path.stat().st_size > 120_000_000
    assert peak < 40_000_000


def test_index_of_pandas_is_left_out(tmp_path: Path) -> None:
    raw = opened(write(tmp_path / "b.parquet", pa.table({"x": [1], "__index_level_0__": [7]})))
    assert rows_of(raw) == [{"x": 1}]
    assert "pandas" in raw.notes[0]


def test_tensors_of_arrow_stay_tensors(tmp_path: Path) -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    raw = opened(write(tmp_path / "a.arrow", pa.table({"t": tensors})))
    assert isinstance(raw.schema.field("t").type, pa.FixedShapeTensorType)
    assert table_of(raw)["t"].combine_chunks().equals(tensors)


def test_dropped_columns_come_as_nulls(tmp_path: Path) -> None:
    raw = opened(write(tmp_path / "a.arrow", TABLE), drop=("inner", "x"))
    assert raw.schema.field("inner").type == pa.null()
    assert [row["x"] for row in rows_of(raw)] == [None] * 3


@ENDINGS
def test_damaged_files(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", pa.table({"x": range(10_000)}), 1000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError) as caught:
        list(opened(path).batches())
    assert caught.value.where == str(path)
    path.write_bytes(b"something else")
    with pytest.raises(SourceError, match="Check that the file is whole"):
        _ = opened(path).schema


@ENDINGS
def test_names_and_rows_are_needed(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", pa.table({"x": pa.array([], pa.int64())}))
    with pytest.raises(SourceError, match="no rows"):
        list(opened(path).batches())
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    if ending != "feather":
        with pytest.raises(SourceError, match="2 columns have the name 'x'"):
            list(opened(write(tmp_path / f"a.{ending}", twice)).batches())


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first, same = write(tmp_path / "a.parquet", TABLE.select(["x"])), tmp_path / "b.parquet"
    same.write_bytes(first.read_bytes())
    other = write(tmp_path / "c.parquet", pa.table({"x": [2]}))
    assert opened(first).fingerprint() == opened(same).fingerprint() != opened(other).fingerprint()
