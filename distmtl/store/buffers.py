"""Large buffers that are used again: the kernel zeroes fresh memory, which costs more than the copy into it.

A buffer goes back by itself when nobody holds a view of it any more, whatever the view is (memoryview, NumPy array,
Arrow buffer, torch tensor) and whichever thread drops it last.
"""

import weakref
from collections import deque

import numpy as np
import numpy.typing as npt

SMALLEST_BYTES = 2**20
"""Smaller ones come from the allocator, which is good at them."""

KEPT_BYTES = 256 * 2**20
"""Bytes that may wait for their next use."""

_UNIT_BYTES = 2**20
"""Sizes are rounded up to this, so that blocks of about one size share buffers."""

Bytes = npt.NDArray[np.uint8]


class Buffers:
    """Free buffers by size."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        # Appending to a deque and popping from it are atomic: a buffer may come back in the middle of anything, even
        # of a garbage collection that interrupts take(), where a lock would wait for itself.
        self._free: dict[int, deque[Bytes]] = {}

    def take(self, size: int) -> Bytes:
        """``size`` bytes with undefined contents, which are the caller's as long as anything refers to them."""
        if size < SMALLEST_BYTES:
            return np.empty(size, np.uint8)
        rounded = -(-size // _UNIT_BYTES) * _UNIT_BYTES
        free = self._free.setdefault(rounded, deque())
        try:
            whole = free.pop()
        except IndexError:
            whole = np.empty(rounded, np.uint8)
        lent = whole.view(_Lent)
        weakref.finalize(lent, self._give_back, whole).atexit = False
        return lent[:size]  # a view of its own type: NumPy then keeps 'lent' as the base of all further ones

    def _give_back(self, whole: Bytes) -> None:
        kept = sum(size * len(free) for size, free in list(self._free.items()))
        if kept + whole.nbytes <= self._kept_bytes:
            self._free[whole.nbytes].append(whole)


class _Lent(np.ndarray[tuple[int], np.dtype[np.uint8]]):
    """The one object that all views of a lent buffer lead to."""


BUFFERS = Buffers(KEPT_BYTES)
"""The buffers of this process."""
