"""Lists and binary values, one batch at a time: as tensors where all have one shape, else as ragged columns."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.ingest.numbers import cannot_pack
from distmtl.data.tensors import DTYPES, TensorLayout
from distmtl.errors import SourceError

_WIDER = {"uint16": "int32", "uint32": "int64"}
"""Types that torch hardly supports, and what holds their values."""


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Whether values of this type are bytes of any length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def list_type(name: str, kind: pa.DataType) -> str:
    """NumPy name of the numbers in a type of lists.

    Raises:
        SourceError: They are no numbers, or none that torch has.
    """
    while is_list(kind):
        kind = kind.value_type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise cannot_pack(f"column '{name}' holds lists of {kind}, which cannot be packed", name)
    dtype = str(np.dtype(kind.to_pandas_dtype()).name)
    dtype = _WIDER.get(dtype, dtype)
    if dtype not in DTYPES:
        raise cannot_pack(f"column '{name}' holds lists of {kind}, which cannot be packed", name)
    return dtype


def plain_lists(name: str, array: Any) -> tuple[Any, tuple[int, ...]]:
    """An array of tensors as its storage, and the shape that its type gives; () for other types."""
    if not isinstance(array.type, pa.FixedShapeTensorType):
        return array, ()
    permutation = array.type.permutation
    if permutation is not None and list(permutation) != sorted(permutation):
        raise SourceError(
            f"tensor column '{name}' is not in row-major order.", remedy=f"Transpose it, or use --drop {name}."
        )
    return array.storage, tuple(array.type.shape)


def list_values(name: str, array: Any) -> npt.NDArray[Any]:
    """All numbers of an array of nested lists without nulls, in one dimension.

    Raises:
        SourceError: A number is null.
    """
    while is_list(array.type):
        array = array.flatten()
    if array.null_count:
        raise SourceError(
            f"the lists of column '{name}' have {array.null_count} nulls; a list of numbers has none.",
            remedy=f"Fill them before packing, or use --drop {name}.",
        )
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(_WIDER.get(values.dtype.name, values.dtype.name), copy=False)


def list_shapes(name: str, array: Any) -> list[tuple[int, ...]]:
    """The distinct shapes of the rows of an array that are not null, at most a few of them.

    Raises:
        SourceError: Lists in lists differ in length.
    """
    array = array.drop_null() if array.null_count else array
    if not len(array):
        return []
    lengths = _lengths(array)
    outer = array.flatten()
    if not is_list(outer.type):
        return [(length,) for length in lengths]
    if outer.null_count:
        raise null_tensor(name, outer.null_count)
    inner = list_shapes(name, outer)
    if len(inner) > 1 or (len(lengths) > 1 and len(inner) == 1):
        raise differing(name, inner if len(inner) > 1 else [(length, *inner[0]) for length in lengths])
    return [(length, *shape) for length in lengths for shape in inner or [(0,)]]


def _lengths(array: Any) -> list[int]:
    if pa.types.is_fixed_size_list(array.type):
        return [array.type.list_size]
    return sorted(pc.unique(pc.list_value_length(array)).to_pylist())[:6]


def differing(name: str, shapes: list[tuple[int, ...]]) -> SourceError:
    """The error for nested lists of no one shape."""
    shown = ", ".join(str(list(shape)) for shape in shapes[:5])
    return SourceError(
        f"the lists of column '{name}' differ in length: {shown}.",
        remedy=f"Pad or cut them to one length, or use --drop {name}.",
    )


def null_tensor(name: str, nulls: int) -> SourceError:
    """The error for a tensor column with nulls."""
    return SourceError(
        f"tensor column '{name}' has {nulls} nulls; a tensor has none.",
        remedy=f"Fill them before packing, leave those rows out, or use --drop {name}.",
    )


def wrong_sizes(name: str, sizes: list[int], layout: TensorLayout) -> SourceError:
    """The error for bytes that are not those of a tensor."""
    return SourceError(
        f"the values of column '{name}' have {', '.join(map(str, sizes[:5]))} bytes, but "
        f"{layout.dtype}:{'x'.join(map(str, layout.shape))} has {layout.bytes}.",
        remedy=f"Correct --tensor {name}=..., or use --drop {name}.",
    )


def binary_values(array: Any, layout: TensorLayout) -> npt.NDArray[Any]:
    """The rows ``[N, *shape]`` of a binary column whose values all have the layout's size."""
    flat = array.cast(pa.binary(layout.bytes))
    start = flat.offset * layout.bytes
    if not len(flat):
        return np.empty((0, *layout.shape), layout.dtype)
    raw = np.frombuffer(flat.buffers()[1], np.uint8)[start : start + len(flat) * layout.bytes]
    numbers = raw.view(np.dtype(layout.dtype).newbyteorder("<"))
    return numbers.reshape(-1, *layout.shape).astype(layout.dtype, copy=False)


def ragged_array(values: npt.NDArray[Any], lengths: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> Any:
    """Rows of ``lengths`` numbers each, one after another in ``values``, as binary; null where not ``valid``."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) * values.dtype.itemsize
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [bits, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(little)]
    )
