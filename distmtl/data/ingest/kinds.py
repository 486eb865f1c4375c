"""What the type of a column is found to be, and everything that is needed to convert its batches to it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distmtl.data.manifest import Column, ColumnKind
from distmtl.data.tensors import TensorLayout, tensor_field

RAGGED = b"ragged"
"""Key of a ragged column's element type in the metadata of its field."""


@dataclass(frozen=True)
class ColumnType:
    """How a column of the inputs becomes one of the source.

    Attributes:
        name: Its name.
        kind: Its kind.
        dtype: NumPy name of a stored number; ``utf8`` for text, ``uint8`` for bytes.
        shape: Shape of one row of a tensor, else ().
        origin: Its type in the inputs, for people.
        nullable: Whether a numeric column has nulls.
        trim: Whether its strings lose spaces, and may be words for null.
        parse: What its strings are read as: a key of :data:`distmtl.data.ingest.strings.PARSES`, or "".
        whole: Whether floats that are categorical are integers.
        layout: What the bytes of a tensor are in the inputs.
        row_bytes: Mean bytes of a row in memory, rounded up.
    """

    name: str
    kind: ColumnKind
    dtype: str
    shape: tuple[int, ...] = ()
    origin: str = ""
    nullable: bool = False
    trim: bool = False
    parse: str = ""
    whole: bool = False
    layout: TensorLayout | None = None
    row_bytes: int = 4

    def column(self, vocabulary: tuple[str, ...] = ()) -> Column:
        """What the manifest says of it."""
        return Column(self.name, self.kind, self.dtype, self.shape, self.origin, vocabulary)

    @property
    def field(self) -> pa.Field:
        """Its field in a shard."""
        if self.kind == "tensor":
            return tensor_field(self.name, TensorLayout(self.dtype, self.shape))
        if self.kind == "text":
            return pa.field(self.name, pa.string())
        if self.kind == "bytes":
            return pa.field(self.name, pa.binary())
        if self.kind == "ragged":
            return pa.field(self.name, pa.binary(), metadata={RAGGED: self.dtype.encode()})
        return pa.field(self.name, pa.from_numpy_dtype(np.dtype(self.dtype)), nullable=self.nullable)


def ragged_dtype(field: pa.Field) -> str | None:
    """The element type that the field of a ragged column names, or None."""
    value = (field.metadata or {}).get(RAGGED)
    return None if value is None else value.decode()
