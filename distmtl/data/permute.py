"""Keyed permutations of ``range(n)`` that cost O(1) per index and need no table.

A Feistel network permutes ``range(2**bits)``, the smallest such range that holds ``range(n)``; an index that lands
outside ``range(n)`` is sent through it again until it lands inside (cycle walking; Black and Rogaway 2002), which
keeps it a permutation of ``range(n)`` for every n. The halves may differ by a bit, so that an index passes through it
fewer than two times on average.

The arithmetic is our own and exact in 32 and 64 bits: NumPy does not promise that its generators draw the same streams
in other versions, and a resumed run must find the rows that the first attempt planned.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

MAX_SIZE = 2**50
"""The largest n: halves of 25 bits are mixed in 32."""

# With fewer than 16 rounds the permutations of 5 to 8 indices are visibly uneven; large ones need only 8.
_FEW = 256
_ROUNDS_FOR_FEW = 20
_ROUNDS = 8
# Odd constants with well-spread bits: the golden ratio, and the multipliers of SplitMix64 and of Wellons' lowbias32.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_64 = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_MIX_32 = (np.uint32(0x21F0AAAD), np.uint32(0x735A2D97))


def key(seed: int, *words: int | str) -> int:
    """A 64-bit key that is the same in every process, version and machine.

    Args:
        seed: The run's seed.
        words: What the key is for. Each is packed with its type and length, so ``("ab", "c")`` and ``("a", "bc")``
            differ, and so do ``1`` and ``"1"``.
    """
    packed = bytearray()
    for word in (seed, *words):
        if isinstance(word, str):
            text = word.encode()
            packed += b"s" + len(text).to_bytes(8, "little") + text
        else:
            packed += b"i" + word.to_bytes(16, "little", signed=True)
    return xxhash.xxh3_64_intdigest(bytes(packed))


def permute(index: ArrayLike, size: ArrayLike, keys: ArrayLike) -> NDArray[np.int64]:
    """Where a keyed permutation of ``range(size)`` sends each index.

    Args:
        index: Indices ``[N]``, each in ``range(size)``.
        size: One size, or one per index ``[N]``; 1 to ``MAX_SIZE``.
        keys: One 64-bit key, or one per index ``[N]``; see :func:`key`.

    Returns:
        Permuted indices ``[N]``.
    """
    return _by_size(index, size, keys, inverse=False)


def unpermute(index: ArrayLike, size: ArrayLike, keys: ArrayLike) -> NDArray[np.int64]:
    """The inverse of :func:`permute` for the same size and key."""
    return _by_size(index, size, keys, inverse=True)


def shuffle(size: int, keys: ArrayLike) -> NDArray[np.int64]:
    """``range(size)`` in an order that follows from a key, at a fraction of the cost of :func:`permute`.

    The numbers are sorted by 32 bits of a keyed hash (SplitMix64), equal ones by number. Sorting twice by 16 bits is
    what NumPy does in linear time, and stable sorts leave no room for differences between its versions.

    Args:
        size: How many numbers.
        keys: One 64-bit key, or several ``[K]``.

    Returns:
        The permutation ``[size]``, or one per key ``[K, size]``.
    """
    numbers = np.arange(1, size + 1, dtype=np.uint64)
    mixed = np.asarray(keys, dtype=np.uint64)[..., None] + numbers * _GOLDEN
    for shift, factor in zip((30, 27), _MIX_64, strict=True):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= factor
    mixed ^= mixed >> np.uint64(31)
    halves = mixed.astype("<u8", copy=False).view("<u2").reshape(*mixed.shape, 4)
    low = np.argsort(halves[..., 0], axis=-1, kind="stable")
    if mixed.ndim == 1:  # the same, by cheaper look-ups
        return low.take(halves[:, 1].take(low).argsort(kind="stable"))
    high = np.take_along_axis(halves[..., 1], low, axis=-1)
    order: NDArray[np.int64] = np.take_along_axis(low, np.argsort(high, axis=-1, kind="stable"), axis=-1)
    return order


def _by_size(index: ArrayLike, size: ArrayLike, keys: ArrayLike, *, inverse: bool) -> NDArray[np.int64]:
    """Walk with as many rounds as the sizes need."""
    values = np.atleast_1d(np.asarray(index, dtype=np.int64))
    sizes = np.asarray(size, dtype=np.int64)
    all_keys = np.asarray(keys, dtype=np.uint64)
    few = sizes < _FEW
    if few.all() or not few.any():
        return _walk(values, sizes, all_keys, few=bool(few.all()), inverse=inverse)
    moved = np.empty_like(values)
    for group in (few, ~few):
        where = np.flatnonzero(group)
        own_keys = _take(all_keys, where)
        moved[where] = _walk(values[where], sizes[where], own_keys, few=group is few, inverse=inverse)
    return moved


def _walk(
    values: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, few: bool, inverse: bool
) -> NDArray[np.int64]:
    if sizes.ndim == 0 and sizes == 1:
        return np.zeros_like(values)  # the network would say the same; but most small sources have one block
    count = _ROUNDS_FOR_FEW if few else _ROUNDS
    rounds = range(count - 1, -1, -1) if inverse else range(count)
    network = _Network.of(sizes, keys, count)
    values = network.apply(values, rounds)
    outside = np.flatnonzero(values >= sizes)
    while outside.size:
        moved = network.take(outside).apply(values[outside], rounds)
        values[outside] = moved
        outside = outside[moved >= _take(sizes, outside)]
    return values


@dataclass(frozen=True)
class _Network:
    """A Feistel network, or one per index: bits of the halves ``[]`` or ``[N]``, round keys ``[rounds, ...]``."""

    low_bits: NDArray[np.uint64]
    high_bits: NDArray[np.uint64]
    round_keys: NDArray[np.uint32]

    @classmethod
    def of(cls, sizes: NDArray[np.int64], keys: NDArray[np.uint64], rounds: int) -> "_Network":
        # frexp counts the bits of an integer exactly as long as a double holds it; each half has at least one bit.
        bits = np.maximum(np.frexp((sizes - 1).astype(np.float64))[1], 2).astype(np.uint64)
        high_bits = bits // np.uint64(2)
        counters = np.arange(1, rounds + 1, dtype=np.uint64).reshape(-1, *(1,) * keys.ndim)
        mixed = keys + counters * _GOLDEN
        for shift, factor in zip((30, 27), _MIX_64, strict=True):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
        return cls(bits - high_bits, high_bits, (mixed >> np.uint64(32)).astype(np.uint32))

    def take(self, where: NDArray[np.intp]) -> "_Network":
        """The networks of some of the indices."""
        keys = self.round_keys
        return _Network(
            _take(self.low_bits, where), _take(self.high_bits, where), keys[:, where] if keys.ndim > 1 else keys
        )

    def apply(self, values: NDArray[np.int64], rounds: Iterable[int]) -> NDArray[np.int64]:
        """Send values ``[N]`` through the network; the rounds in reverse order undo it."""
        whole = values.astype(np.uint64)
        high = (whole >> self.low_bits).astype(np.uint32)
        low = (whole ^ (high.astype(np.uint64) << self.low_bits)).astype(np.uint32)
        low_shift = (np.uint64(32) - self.low_bits).astype(np.uint32)
        high_shift = (np.uint64(32) - self.high_bits).astype(np.uint32)
        for number in rounds:
            if number % 2:
                low ^= _scramble(high, self.round_keys[number]) >> low_shift
            else:
                high ^= _scramble(low, self.round_keys[number]) >> high_shift
        return ((high.astype(np.uint64) << self.low_bits) | low).astype(np.int64)


def _scramble(half: NDArray[np.uint32], round_key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A 32-bit hash of a half; its top bits are the best mixed."""
    mixed = half + round_key
    mixed ^= mixed >> np.uint32(16)
    mixed *= _MIX_32[0]
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX_32[1]
    return mixed


def _take(values: NDArray[Any], where: NDArray[np.intp]) -> NDArray[Any]:
    return values[where] if values.ndim else values
