"""Columns of one fixed shape per row: what they look like in files, and as bytes in a source."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distmtl.errors import SourceError

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
"""What the numbers of a tensor may be: all that torch has, too."""


WIDE_ROW_BYTES = 16 * 2**10
"""Rows from this size on are copied once, when they are drawn: a call per row costs less than a second copy."""


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
