"""A batch of the inputs as columns of the types that were found for them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.ingest import lists, strings
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.numbers import numbers_array
from distmtl.data.tensors import tensor_array


def convert(column: ColumnType, array: Any, nulls: tuple[str, ...]) -> Any:
    """A batch of a column as it is stored; a categorical one as the strings that its ids will stand for.

    Args:
        column: Its type.
        array: Its values, of the type that all inputs share.
        nulls: Strings that mean null where ``column.trim``.
    """
    if column.trim and strings.is_string(array.type):
        array = strings.with_nulls(array, nulls)
    if column.parse:
        array = array.cast(strings.PARSES[column.parse])
    match column.kind:
        case "numeric":
            return _numbers(column, array)
        case "categorical":
            return strings.as_names(column.name, array, whole=column.whole)
        case "text":
            return strings.as_names(column.name, array, whole=column.whole).cast(pa.string())
        case "bytes":
            return array.cast(pa.binary())
        case "tensor":
            return _tensor(column, array)
        case "ragged":
            return _ragged(column, array)


def _numbers(column: ColumnType, array: Any) -> Any:
    if strings.is_string(array.type):  # cells that are all null
        return pa.nulls(len(array), pa.from_numpy_dtype(np.dtype(column.dtype)))
    return numbers_array(column.name, array, column.dtype)


def _tensor(column: ColumnType, array: Any) -> Any:
    if column.layout is not None:
        values = lists.binary_values(array, column.layout)
    else:
        array, _ = lists.plain_lists(column.name, array)
        values = lists.list_values(column.name, array).reshape(-1, *column.shape)
    with np.errstate(over="ignore"):
        return tensor_array(values.astype(column.dtype, copy=False))


def _ragged(column: ColumnType, array: Any) -> Any:
    if lists.is_binary(array.type):
        return array.cast(pa.binary())
    array, shape = lists.plain_lists(column.name, array)
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    fixed = shape or pa.types.is_fixed_size_list(array.type)
    lengths = np.where(valid, array.type.list_size, 0) if fixed else _lengths(array)
    with np.errstate(over="ignore"):
        values = lists.list_values(column.name, array).astype(column.dtype, copy=False)
    return lists.ragged_array(values, lengths, valid)


def _lengths(array: Any) -> Any:
    return pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
