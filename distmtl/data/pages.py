"""Columns of a block as views of its bytes, where the bytes are the numbers already.

A column chunk that is one uncompressed page of plain values, without nulls, is a short header and then what Arrow
would have after decoding. Seeing it so costs nothing; decoding it copies every byte.

Fields: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from typing import Any

import numpy as np
import pyarrow as pa

_BOOL_TRUE, _BYTE, _I64, _BINARY, _STRUCT = 1, 3, 6, 8, 12
"""Type codes of Thrift's compact protocol."""

_DATA_PAGE, _PLAIN = 0, 0
_TYPE, _SIZE, _HEADER = 1, 2, 5
_VALUES, _ENCODING = 1, 2


def plain_column(block: memoryview, column: Any, field: pa.Field) -> pa.Array | None:
    """A column of a block as a view of its bytes, or None where it has to be decoded.

    Args:
        block: The bytes of the row group.
        column: Its ``pyarrow.parquet.ColumnChunkMetaData``, with offsets from the block's first byte.
        field: The column's field in the Arrow schema of the source.
    """
    if column.compression != "UNCOMPRESSED" or field.nullable or not _is_plain(field.type):
        return None
    start = column.data_page_offset
    header, end = _struct(block, start)
    page = header.get(_HEADER)
    if header.get(_TYPE) != _DATA_PAGE or not isinstance(page, dict) or page.get(_ENCODING) != _PLAIN:
        return None
    width, rows = field.type.bit_width // 8, column.num_values
    length = rows * width
    if page.get(_VALUES) != rows or header.get(_SIZE) != length or end + length != start + column.total_compressed_size:
        return None
    values = block[end : end + length]
    if _item_bytes(field) > 1:
        # Numbers that do not lie on a multiple of their size are slow to read, and on some machines an error.
        found = np.frombuffer(values, np.uint8)
        if found.ctypes.data % _item_bytes(field):
            values = found.copy().data
    return pa.Array.from_buffers(field.type, rows, [None, pa.py_buffer(values)])


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_fixed_size_binary(kind)
        or types.is_int32(kind)
        or types.is_int64(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
    )


def _item_bytes(field: pa.Field) -> int:
    """Bytes of one number."""
    if not pa.types.is_fixed_size_binary(field.type):
        return int(field.type.bit_width // 8)
    dtype = (field.metadata or {}).get(b"dtype")
    return np.dtype(dtype.decode()).itemsize if dtype else 1


def _struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A struct of Thrift's compact protocol, and where it ends; only what page headers hold is understood."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if not head:
            return fields, at
        kind, step = head & 0x0F, head >> 4
        if step:
            number += step
        else:
            zigzag, at = _varint(data, at)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        fields[number], at = _value(data, at, kind)


def _value(data: memoryview, at: int, kind: int) -> tuple[Any, int]:
    if kind <= _BOOL_TRUE + 1:
        return kind == _BOOL_TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind <= _I64:
        zigzag, at = _varint(data, at)
        return (zigzag >> 1) ^ -(zigzag & 1), at
    if kind == _BINARY:
        length, at = _varint(data, at)
        return bytes(data[at : at + length]), at + length
    if kind == _STRUCT:
        return _struct(data, at)
    raise ValueError(f"a page header holds a value of type {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
