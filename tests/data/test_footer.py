"""A block decoded from its own bytes equals the row group that pyarrow reads from the whole file."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.footer import block_range, encode_row_group, read_block, template


def write(table: pa.Table, rows: int, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows, write_page_checksum=True, write_statistics=False, **options)
    return sink.getvalue()


def mixed_table(rows: int, columns: int = 0) -> pa.Table:
    index = np.arange(rows)
    holes = index % 3 == 0
    arrays = {
        "int32": pa.array(index.astype(np.int32), mask=holes),
        "int64": pa.array(index * 2**40),
        "float32": pa.array(index.astype(np.float32) / 7),
        "float64": pa.array(index / 7, mask=~holes),
        "all null": pa.array(index.astype(np.float32), mask=np.ones(rows, bool)),
        "tensor": pa.array([bytes([i % 251] * 12) for i in range(rows)], pa.binary(12)),
        "a": pa.array(index),
        "a.b": pa.array(-index),
        "ünïcode\n": pa.array(index),
    }
    return pa.table(arrays | {f"c{i}": index for i in range(columns)})


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd", "snappy"])
@pytest.mark.parametrize("rows", [1, 1000])
def test_block_equals_row_group(compression: str, rows: int) -> None:
    table = mixed_table(rows, columns=20)  # more than 14 columns need the long form of a Thrift list
    file = write(table, 256, compression=compression, use_dictionary=False)
    whole = pq.ParquetFile(pa.BufferReader(file))
    footer = template(table.schema)
    for number in range(whole.num_row_groups):
        group = whole.metadata.row_group(number)
        offset, length = block_range(group)
        block = memoryview(file)[offset : offset + length]
        got = read_block(block, footer, encode_row_group(group), table.column_names)
        assert got.equals(whole.read_row_group(number))
        got.validate(full=True)


def test_columns_come_in_the_order_asked_for_and_prefixes_do_not_match() -> None:
    table = mixed_table(10)
    file = write(table, 10, use_dictionary=False)
    group = pq.ParquetFile(pa.BufferReader(file)).metadata.row_group(0)
    offset, length = block_range(group)
    got = read_block(file[offset : offset + length], template(table.schema), encode_row_group(group), ["float32", "a"])
    assert got.column_names == ["float32", "a"]


def test_offsets_past_four_gibibytes_are_encoded() -> None:
    class Group:
        num_columns, num_rows, total_byte_size = 1, 2**40, 2**41

        def column(self, _: int) -> object:
            class Chunk:
                path_in_schema, physical_type, compression, encodings = "x", "INT64", "ZSTD", ("PLAIN",)
                num_values, total_uncompressed_size, total_compressed_size = 2**40, 2**43, 2**42
                data_page_offset, dictionary_page_offset = 2**45, None

            return Chunk()

    group = Group()
    assert block_range(group) == (2**45, 2**42)
    tail = template(pa.schema([("x", pa.int64())])) + encode_row_group(group) + b"\0"
    file = b"PAR1" + tail + len(tail).to_bytes(4, "little") + b"PAR1"
    found = pq.read_metadata(pa.BufferReader(file)).row_group(0)
    assert (found.num_rows, found.total_byte_size) == (2**40, 2**41)
    assert found.column(0).data_page_offset == 0
    assert found.column(0).total_compressed_size == 2**42


def test_dictionary_pages_are_refused() -> None:
    file = write(pa.table({"x": ["a", "b"] * 50}), 100)
    with pytest.raises(ValueError, match="dictionary"):
        block_range(pq.ParquetFile(pa.BufferReader(file)).metadata.row_group(0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=40), st.integers(1, 16))
def test_any_values_survive(values: list[int | None], rows: int) -> None:
    table = pa.table({"x": pa.array(values, pa.int64())})
    file = write(table, rows, use_dictionary=False)
    whole = pq.ParquetFile(pa.BufferReader(file))
    found = []
    for number in range(whole.num_row_groups):
        group = whole.metadata.row_group(number)
        offset, length = block_range(group)
        block = file[offset : offset + length]
        found += read_block(block, template(table.schema), encode_row_group(group), ["x"])["x"].to_pylist()
    assert found == values
