"""Sources that are small enough to lie in memory whole.

A window of a small source holds few rows, so opening windows would cost more than training on them. Such a source is
one table instead, and what a lane draws in a pass is one array of row numbers.
"""

from collections.abc import Callable, Sequence
from threading import Lock

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

    def rows(self) -> Decoded:
        """Every row. Waits until all blocks are read, and raises what reading one raises."""
        with self._lock:
            if self._rows is None:
                self._rows = self._join([self._read(block) for block in range(self._blocks)])
            return self._rows
