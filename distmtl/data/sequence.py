"""Blocks laid end to end: from a row's offset to its block, in constant time."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int64 = NDArray[np.int64]


class BlockSequence:
    """Blocks of ``block_rows`` rows laid end to end, a few of which are short.

    A row's *offset* is its place among all rows, a block's *place* is its place among all blocks. Memory and time are
    those of the short blocks alone, of which a source has one per append.

    Args:
        block_rows: Rows of a block that is not short.
        short_blocks: (place, rows) of every short block, in any order.
    """

    def __init__(self, block_rows: int, short_blocks: Iterable[tuple[int, int]] = ()) -> None:
        short = np.array(sorted(short_blocks), dtype=np.int64).reshape(-1, 2)
        self._block_rows = block_rows
        self._places = short[:, 0]
        # Rows missing before a place, by the number of short blocks before it.
        self._missing = np.concatenate(([0], np.cumsum(block_rows - short[:, 1])))
        self._stops = (self._places + 1) * block_rows - self._missing[1:]

    def start(self, places: ArrayLike) -> Int64:
        """Offset of the first row of the block at each place ``[N]``; places may lie past either end."""
        places = np.asarray(places, dtype=np.int64)
        return places * self._block_rows - self._missing[np.searchsorted(self._places, places, side="left")]

    def find(self, offsets: ArrayLike) -> tuple[Int64, Int64]:
        """The place of the block that holds each offset ``[N]``, and the row in that block."""
        offsets = np.asarray(offsets, dtype=np.int64)
        padded = offsets + self._missing[np.searchsorted(self._stops, offsets, side="right")]
        return padded // self._block_rows, padded % self._block_rows


def ranges(starts: Int64, counts: Int64) -> Int64:
    """``starts[i] .. starts[i] + counts[i] - 1``, one range after the other."""
    ends = np.cumsum(counts)
    found: Int64 = np.repeat(starts - (ends - counts), counts)
    found += np.arange(found.size)
    return found
