"""Sources that are small enough to lie in memory whole.

A window of a small source holds few rows, so opening windows would cost more than training on them. Such a source is
one table instead, and what a lane draws in a pass is one array of row numbers.
"""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from distmtl.data.decode import Decoded

RESIDENT_BYTES = 32 * 2**20
"""Decoded bytes up to which a source is kept whole, on every worker."""


class Table:
    """All rows of a split, block after block; read on first use, once however many threads ask.

    Args:
        blocks: Number of blocks.
        read: Gives a decoded block.
        join: Joins decoded blocks.
    """

    def __init__(
        self, blocks: int, read: Callable[[int], Decoded], join: Callable[[Sequence[Decoded]], Decoded]
    ) -> None:
        self._blocks, self._read, self._join = blocks, read, join
        self._lock = Lock()
        self._rows: Decoded | None = None
        self._starts = np.zeros(blocks + 1, dtype=np.int64)

    def rows(self) -> Decoded:
        """Every row. Waits until all blocks are read, and raises what reading one raises."""
        with self._lock:
            if self._rows is None:
                parts = [self._read(block) for block in range(self._blocks)]
                np.cumsum([part.rows for part in parts], out=self._starts[1:])
                self._rows = self._join(parts)
            return self._rows

    def numbers(self, blocks: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Row numbers of the table ``[N]`` for rows of blocks; after :meth:`rows`."""
        return self._starts[blocks] + rows
