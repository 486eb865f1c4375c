"""Columns of one fixed shape per row: what they look like in files, and as bytes in a source."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.errors import SourceError

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
"""What the numbers of a tensor may be: all that torch has, too."""

_WIDER = {"uint16": "int32", "uint32": "int64"}
"""Types that torch hardly supports, and what holds their values."""


@dataclass(frozen=True)
class TensorLayout:
    """What the bytes of a binary column are: ``dtype`` numbers, little-endian, in row-major order of ``shape``."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of one row."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


def parse_layout(text: str) -> TensorLayout:
    """``uint8:36x36`` as a layout.

    Raises:
        SourceError: It is not of this form.
    """
    dtype, _, sizes = text.partition(":")
    parts = sizes.split("x")
    if dtype not in DTYPES or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise SourceError(
            f"'{text}' is not a tensor layout.",
            remedy=f"Write dtype:AxBxC, such as uint8:3x32x32; dtypes: {', '.join(DTYPES)}.",
        )
    return TensorLayout(dtype, tuple(int(part) for part in parts))


def tensor_field(name: str, layout: TensorLayout) -> pa.Field:
    """The field of a tensor column in a shard; its metadata say what the bytes are."""
    metadata = {"dtype": layout.dtype, "shape": "x".join(map(str, layout.shape))}
    return pa.field(name, pa.binary(layout.bytes), nullable=False, metadata=metadata)


def field_layout(field: pa.Field) -> TensorLayout | None:
    """The layout that :func:`tensor_field` wrote, or None."""
    metadata = field.metadata or {}
    if b"dtype" not in metadata or b"shape" not in metadata:
        return None
    return parse_layout(f"{metadata[b'dtype'].decode()}:{metadata[b'shape'].decode()}")


def tensor_array(values: npt.NDArray[Any]) -> pa.Array:
    """``[N, *shape]`` numbers as the binary column of a shard."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    width = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    return pa.Array.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(little)])


def tensor_values(name: str, data: pa.ChunkedArray, layout: TensorLayout | None) -> npt.NDArray[Any] | None:
    """The rows ``[N, *shape]`` of a column of lists or binary values, or None for any other type.

    Raises:
        SourceError: The rows differ in shape, hold nulls, or are not of numbers.
    """
    kind = data.type
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = _row_major(name, kind)
        flat = _list_values(name, pa.chunked_array([chunk.storage for chunk in data.chunks], kind.storage_type))
        return flat.reshape(len(data), *shape)
    if _is_list(kind):
        return _list_values(name, data)
    if pa.types.is_fixed_size_binary(kind):
        return _binary_values(name, data, layout or TensorLayout("uint8", (kind.byte_width,)))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        if layout is None:
            raise SourceError(
                f"column '{name}' is of type {kind}; distmtl cannot know what its bytes are.",
                remedy=f"Say so, such as --tensor {name}=uint8:3x32x32, or use --drop {name}.",
            )
        return _binary_values(name, data, layout)
    return None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _row_major(name: str, kind: Any) -> tuple[int, ...]:
    permutation = kind.permutation
    if permutation is not None and list(permutation) != sorted(permutation):
        remedy = f"Transpose it, or use --drop {name}."
        raise SourceError(f"tensor column '{name}' is not in row-major order.", remedy=remedy)
    return tuple(kind.shape)


def _list_values(name: str, data: pa.ChunkedArray) -> npt.NDArray[Any]:
    shapes: dict[tuple[int, ...], None] = {}
    parts = []
    for chunk in data.chunks:
        if len(chunk):
            shape, values = _flatten(name, chunk)
            shapes[shape] = None
            parts.append(values)
    if len(shapes) != 1 or 0 in next(iter(shapes)):
        raise _ragged(name, [str(list(shape)) for shape in shapes])
    shape = next(iter(shapes))
    return np.concatenate(parts).reshape(-1, *shape)


def _flatten(name: str, array: Any) -> tuple[tuple[int, ...], npt.NDArray[Any]]:
    """Shape of a row, and all numbers of an array of nested lists."""
    shape: list[int] = []
    while _is_list(array.type):
        _refuse_nulls(name, array)
        if pa.types.is_fixed_size_list(array.type):
            shape.append(array.type.list_size)
        else:
            lengths = pc.unique(pc.list_value_length(array)).to_pylist()
            if len(lengths) != 1:
                raise _ragged(name, [str(length) for length in sorted(lengths)])
            shape.append(lengths[0])
        array = array.flatten()
    _refuse_nulls(name, array)
    return tuple(shape), _numbers(name, array)


def _numbers(name: str, array: Any) -> npt.NDArray[Any]:
    kind = array.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _not_numbers(name, kind)
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    wider = _WIDER.get(values.dtype.name, values.dtype.name)
    if wider not in DTYPES:
        raise _not_numbers(name, kind)
    return values.astype(wider, copy=False)


def _binary_values(name: str, data: pa.ChunkedArray, layout: TensorLayout) -> npt.NDArray[Any]:
    _refuse_nulls(name, data)
    sizes = pc.unique(pc.binary_length(data)).to_pylist()
    if sizes != [layout.bytes]:
        raise SourceError(
            f"the values of column '{name}' have {', '.join(map(str, sorted(sizes)[:5]))} bytes, but "
            f"{layout.dtype}:{'x'.join(map(str, layout.shape))} has {layout.bytes}.",
            remedy=f"Correct --tensor {name}=..., or use --drop {name}.",
        )
    flat = data.cast(pa.binary(layout.bytes)).combine_chunks()
    start = flat.offset * layout.bytes
    raw = np.frombuffer(flat.buffers()[1], np.uint8)[start : start + len(flat) * layout.bytes]
    numbers = raw.view(np.dtype(layout.dtype).newbyteorder("<"))
    return numbers.reshape(-1, *layout.shape).astype(layout.dtype, copy=False)


def _refuse_nulls(name: str, array: Any) -> None:
    if array.null_count:
        raise SourceError(
            f"tensor column '{name}' has {array.null_count} nulls; a tensor has none.",
            remedy=f"Fill them before packing, leave those rows out, or use --drop {name}.",
        )


def _not_numbers(name: str, kind: pa.DataType) -> SourceError:
    return SourceError(f"column '{name}' holds lists of {kind}, which cannot be packed.", remedy=f"Use --drop {name}.")


def _ragged(name: str, shapes: list[str]) -> SourceError:
    return SourceError(
        f"the lists of column '{name}' differ in length: {', '.join(shapes[:5])}.",
        remedy=f"Pad or cut them to one length, or use --drop {name}.",
    )
