"""Rows of numbers that differ in length: all numbers end to end, and where each row begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows of numbers.

    Attributes:
        values: All numbers, row after row.
        offsets: Where each row begins in ``values``, and where the last ends ``[N + 1]`` int64.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> "Ragged":
        """Consecutive rows."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("rows of a Ragged are taken one after the other")
        offsets = self.offsets[start : max(start, stop) + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Numbers in each row ``[N]``."""
        return np.diff(self.offsets)

    @classmethod
    def of(cls, rows: Sequence[Any], dtype: Any = np.int64) -> Self:
        """From N sequences of numbers."""
        arrays = [np.asarray(row, dtype) for row in rows]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, dtype), *arrays]), offsets)

    @classmethod
    def from_binary(cls, array: Any, dtype: str) -> Self:
        """From a ``pyarrow.BinaryArray`` whose bytes are little-endian numbers, without a copy; a null is empty.

        Raises:
            ValueError: A row is no whole number of numbers.
        """
        if not len(array):
            return cls(np.empty(0, dtype), np.zeros(1, np.int64))
        width = np.dtype(dtype).itemsize
        wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
        index = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32)
        bounds = index[array.offset : array.offset + len(array) + 1].astype(np.int64)
        first, last = int(bounds[0]), int(bounds[-1])
        bounds -= first
        if np.any(bounds % width):
            raise ValueError(f"a row's bytes are no whole number of {dtype}")
        raw = array.buffers()[2] if last > first else b""
        values = np.frombuffer(raw, np.uint8)[first:last].view(np.dtype(dtype).newbyteorder("<"))
        return cls(values.astype(dtype, copy=False), bounds // width)

    def cut(self, lengths: int | npt.NDArray[np.int64]) -> "Ragged":
        """The first so many numbers of each row: one length, or one per row ``[N]``."""
        own = self.lengths
        kept = np.minimum(own, lengths)
        if np.array_equal(kept, own):
            return self
        place = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], own)
        return Ragged(self.values[place < np.repeat(kept, own)], _offsets(kept))

    def padded(self, pad: float, dtype: Any) -> npt.NDArray[Any]:
        """The rows as an array ``[N, T]`` filled up with ``pad``; T is the longest row's length, 1 at least."""
        lengths = self.lengths
        longest = max(1, int(lengths.max())) if len(self) else 1
        out = np.full((len(self), longest), pad, dtype)
        out[np.arange(longest) < lengths[:, None]] = self.values
        return out


def side_by_side(parts: Sequence[Ragged]) -> Ragged:
    """Row i of every part, one after the other, as row i."""
    lengths = [part.lengths for part in parts]
    offsets = _offsets(np.sum(lengths, axis=0, dtype=np.int64))
    values = np.empty(offsets[-1], parts[0].values.dtype)
    start = offsets[:-1].copy()
    for part, own in zip(parts, lengths, strict=True):
        values[np.arange(len(part.values)) + np.repeat(start - part.offsets[:-1], own)] = part.values
        start += own
    return Ragged(values, offsets)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
