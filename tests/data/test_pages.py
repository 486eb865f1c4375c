import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.footer import block_range, encode_row_group, read_block, template
from distmtl.data.pages import plain_column
from distmtl.data.tensors import TensorLayout, tensor_array, tensor_field

FIELDS = [
    tensor_field("image", TensorLayout("uint8", (3, 5))),
    tensor_field("vector", TensorLayout("float32", (4,))),
    pa.field("int", pa.int32(), nullable=False),
    pa.field("long", pa.int64(), nullable=False),
    pa.field("float", pa.float32(), nullable=False),
    pa.field("double", pa.float64(), nullable=False),
    pa.field("label", pa.int32()),
    pa.field("text", pa.string()),
]


def table(rows, seed=0):
    random = np.random.default_rng(seed)
    columns = [
        tensor_array(random.integers(0, 255, (rows, 3, 5), dtype=np.uint8)),
        tensor_array(random.standard_normal((rows, 4), dtype=np.float32)),
        pa.array(random.integers(-9, 9, rows), pa.int32()),
        pa.array(random.integers(-9, 9, rows), pa.int64()),
        pa.array(random.standard_normal(rows), pa.float32()),
        pa.array(random.standard_normal(rows), pa.float64()),
        pa.array([None if i % 3 == 0 else i for i in range(rows)], pa.int32()),
        pa.array([f"row {i}" for i in range(rows)]),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(FIELDS))


def write(data, compression="none", **options):
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, data.schema, compression=compression, use_dictionary=False, **options) as writer:
        writer.write_table(data)
    file = sink.getvalue()
    group = pq.ParquetFile(io.BytesIO(file)).metadata.row_group(0)
    start, length = block_range(group)
    return file[start : start + length], encode_row_group(group)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(0, 5), st.permutations([field.name for field in FIELDS]), st.integers(1, 8))
def test_a_block_reads_as_parquet_does(rows, seed, names, count):
    data = table(rows, seed)
    block, row_group = write(data, data_page_size=2**30, write_page_checksum=True)
    found = read_block(block, template(data.schema), row_group, names[:count])
    assert found.equals(data.select(names[:count]))


@pytest.mark.parametrize("options", [{"compression": "lz4"}, {"compression": "zstd"}, {"data_page_size": 64},
                                     {"data_page_version": "2.0"}, {"write_statistics": False}])  # fmt: skip
def test_what_is_no_view_is_decoded(options):
    data = table(5000)
    block, row_group = write(data, **options)
    assert read_block(block, template(data.schema), row_group, data.column_names).equals(data)


def views(block, data, row_group):
    """Which columns are seen without decoding, as the reader does it."""
    footer = template(data.schema) + row_group + b"\x00"
    tail = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    group = pq.read_metadata(pa.BufferReader(tail)).row_group(0)
    found = {field.name: plain_column(memoryview(block), group.column(i), field) for i, field in enumerate(data.schema)}
    return {name: array for name, array in found.items() if array is not None}


def test_plain_columns_are_views_of_the_block():
    data = table(1000)
    block, row_group = write(data, data_page_size=2**30)
    found = views(block, data, row_group)
    assert set(found) == {"image", "vector", "int", "long", "float", "double"}
    begin = np.frombuffer(block, np.uint8).ctypes.data
    assert begin <= found["image"].buffers()[1].address < begin + len(block)
    for name, item in (("vector", 4), ("int", 4), ("long", 8), ("float", 4), ("double", 8)):
        assert found[name].buffers()[1].address % item == 0


def test_several_pages_are_no_view():
    data = table(5000)
    block, row_group = write(data, data_page_size=64)
    assert not views(block, data, row_group)
