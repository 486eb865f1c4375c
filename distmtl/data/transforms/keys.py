"""Randomness that belongs to a row: not to the process that transforms it, nor to the rows beside it.

The mixing is SplitMix64 (Steele et al. 2014), exact in 64 bits and the same in every version of NumPy.
"""

import numpy as np
import numpy.typing as npt

from distmtl.data.permute import key

Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


def row_keys(seed: int, source: str, passes: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> Keys:
    """A key for every row of a step.

    Args:
        seed: The run's seed.
        source: The source's name.
        passes: The pass that each row belongs to ``[N]``.
        numbers: Number of each row in the split ``[N]``.

    Returns:
        Keys ``[N]``.
    """
    distinct, inverse = np.unique(passes, return_inverse=True)
    bases = np.array([key(seed, "transform", source, number) for number in distinct.tolist()], np.uint64)
    return _mixed(bases[inverse] + numbers.astype(np.uint64) * _GOLDEN)


def keys_of(keys: Keys, number: int) -> Keys:
    """Keys of one of several transforms of the same rows, so that no two of them draw alike."""
    return _mixed(keys + np.uint64((number + 1) * int(_GOLDEN) % 2**64))


def uniform(keys: Keys, stream: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) per key ``[N]``; other streams give independent ones. Name a stream for each use."""
    bits = _mixed(keys ^ np.uint64(key(0, "stream", stream))) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def integers(keys: Keys, stream: str, size: int) -> npt.NDArray[np.int64]:
    """An integer from 0 to ``size - 1`` per key ``[N]``."""
    return (uniform(keys, stream) * size).astype(np.int64)


def _mixed(values: Keys) -> Keys:
    for shift, factor in _MIX:
        values = (values ^ (values >> np.uint64(shift))) * factor
    return values ^ (values >> np.uint64(31))
