"""A Parquet footer for one row group, so that a block is read by one ranged GET and nothing else.

A Parquet file ends with a footer: a ``FileMetaData`` struct in Thrift's compact protocol, its length as four bytes and
``PAR1``. Its offsets count from the start of the file, so a reader that holds only the bytes of one row group needs
another footer, in which they count from the start of those bytes. Two parts make it:

- the footer of a file of the same schema without rows, the *template*, the same for all blocks of a source;
- the fields ``num_rows`` and ``row_groups`` of this one row group, a few dozen bytes per column, which the blocks
  table keeps as ``row_group``.

A Thrift struct ends with a STOP byte and its fields may come in any order, the later of two winning. So the template
without its STOP byte, the fields of the block and a STOP byte are the footer of the block.

Fields and enumerations: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
Encoding: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distmtl.data.pages import plain_column

_MAGIC = b"PAR1"
_STOP = b"\x00"

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
"""Type codes of the compact protocol."""

_PHYSICAL = {
    "BOOLEAN": 0,
    "INT32": 1,
    "INT64": 2,
    "INT96": 3,
    "FLOAT": 4,
    "DOUBLE": 5,
    "BYTE_ARRAY": 6,
    "FIXED_LEN_BYTE_ARRAY": 7,
}
_ENCODING = {
    "PLAIN": 0,
    "PLAIN_DICTIONARY": 2,
    "RLE": 3,
    "BIT_PACKED": 4,
    "DELTA_BINARY_PACKED": 5,
    "DELTA_LENGTH_BYTE_ARRAY": 6,
    "DELTA_BYTE_ARRAY": 7,
    "RLE_DICTIONARY": 8,
    "BYTE_STREAM_SPLIT": 9,
}
# Arrow writes its "lz4" as LZ4_RAW, and names both LZ4 when it reads the footer back.
_CODEC = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6, "LZ4": 7}


def template(schema: pa.Schema) -> bytes:
    """The footer of a Parquet file of this schema without rows, its STOP byte left off."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema):
        pass
    file = sink.getvalue()
    length = int.from_bytes(file[-8:-4], "little")
    footer = file[-8 - length : -8]
    if not footer.endswith(_STOP) or file[-4:] != _MAGIC:
        raise ValueError("pyarrow wrote a Parquet footer of an unknown form")
    return footer[:-1]


def override(schema_footer: bytes) -> bytes:
    """A template as fields that may follow another template and replace it: for a block of another schema.

    Raises:
        ValueError: pyarrow wrote a footer of another form.
    """
    # The first header counts its field from the one before it: it is written out instead.
    if schema_footer[:1] != bytes([1 << 4 | _I32]):
        raise ValueError("pyarrow wrote a Parquet footer of an unknown form")
    return bytes([_I32]) + _zigzag(1) + schema_footer[1:]


def block_range(group: Any) -> tuple[int, int]:
    """Offset and length in bytes of a row group (a ``pyarrow.parquet.RowGroupMetaData``) in its shard.

    Raises:
        ValueError: A column has a dictionary page (Arrow takes one at offset 0 for absent), or the columns leave gaps.
    """
    columns = [group.column(i) for i in range(group.num_columns)]
    if any(column.dictionary_page_offset is not None for column in columns):
        raise ValueError("a block must have no dictionary pages")
    start = end = columns[0].data_page_offset
    for column in columns:
        if column.data_page_offset != end:
            raise ValueError("the columns of a block must follow one another")
        end += column.total_compressed_size
    return start, end - start


def encode_row_group(group: Any) -> bytes:
    """The footer fields of a row group as if its own bytes were the whole file."""
    start, _ = block_range(group)
    columns = [_column_chunk(group.column(i), start) for i in range(group.num_columns)]
    row_group = _struct(
        (1, _LIST, _list(_STRUCT, columns)),
        (2, _I64, _zigzag(group.total_byte_size)),
        (3, _I64, _zigzag(group.num_rows)),
    )
    return _field(3, _I64, _zigzag(group.num_rows)) + _field(4, _LIST, _list(_STRUCT, [row_group]))


def read_block(block: Any, schema_footer: bytes, row_group: bytes, columns: Sequence[str]) -> pa.Table:
    """Decode the bytes of a block without copying them.

    Args:
        block: The bytes of the row group (bytes-like).
        schema_footer: What :func:`template` returned for the source.
        row_group: What :func:`encode_row_group` returned for the block.
        columns: Names of the columns to decode.

    Raises:
        pyarrow.ArrowException or OSError: The bytes are not those of the block.
    """
    metadata, schema = _metadata(schema_footer, row_group)
    view, group = memoryview(block), metadata.row_group(0)
    places = {name: schema.get_field_index(name) for name in columns}
    found = {name: plain_column(view, group.column(place), schema.field(place)) for name, place in places.items()}
    decoded = [name for name, array in found.items() if array is None]
    if decoded:
        with pq.ParquetFile(pa.BufferReader(pa.py_buffer(block)), metadata=metadata) as file:
            # pyarrow takes "a" for a prefix of "a.b" and would bring both: the names pick what was meant.
            table = file.read(columns=decoded, use_threads=False)
        found |= {name: table[name] for name in decoded}
    return pa.Table.from_arrays([*found.values()], schema=pa.schema([schema.field(place) for place in places.values()]))


@lru_cache(maxsize=64)
def _metadata(schema_footer: bytes, row_group: bytes) -> tuple[Any, pa.Schema]:
    """A block's footer and schema. Blocks that are not compressed, and as long, have the same."""
    footer = schema_footer + row_group + _STOP
    tail = _MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC
    metadata = pq.read_metadata(pa.BufferReader(tail))
    return metadata, metadata.schema.to_arrow_schema()


def _column_chunk(column: Any, start: int) -> bytes:
    """``ColumnChunk`` of a ``pyarrow.parquet.ColumnChunkMetaData`` of a column that is not nested."""
    metadata = _struct(
        (1, _I32, _zigzag(_PHYSICAL[column.physical_type])),
        (2, _LIST, _list(_I32, [_zigzag(_ENCODING[name]) for name in column.encodings])),
        (3, _LIST, _list(_BINARY, [_binary(column.path_in_schema.encode())])),
        (4, _I32, _zigzag(_CODEC[column.compression])),
        (5, _I64, _zigzag(column.num_values)),
        (6, _I64, _zigzag(column.total_uncompressed_size)),
        (7, _I64, _zigzag(column.total_compressed_size)),
        (9, _I64, _zigzag(column.data_page_offset - start)),
    )
    return _struct((2, _I64, _zigzag(0)), (3, _STRUCT, metadata))


def _field(number: int, kind: int, value: bytes) -> bytes:
    """A field with its number written out, so that it may follow any other."""
    return bytes([kind]) + _zigzag(number) + value


def _struct(*fields: tuple[int, int, bytes]) -> bytes:
    return b"".join(_field(*field) for field in fields) + _STOP


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
