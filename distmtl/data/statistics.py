"""Statistics of a column over the rows of one split, and the vocabulary of a categorical one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.manifest import VALUES_LIMIT, CategoricalStatistics
from distmtl.features import FIRST_ID, MISSING_ID, UNKNOWN_ID

SAFE = 1e100
"""Numbers up to this can be squared and summed in float64; larger ones are divided by a power of two first."""

UNIT = 2.0**1000
"""What larger ones are divided by."""


def mean_and_std(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and population standard deviation of finite numbers, in float64 and without overflow."""
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if max(-low, high) > SAFE:
        wide /= UNIT
        return min(max(float(wide.mean()) * UNIT, low), high), float(wide.std()) * UNIT
    return float(wide.mean()), float(wide.std())


def build_vocabulary(words: Sequence[str], counts: npt.NDArray[Any], limit: int) -> tuple[str, ...]:
    """The sorted words of the train rows; past ``limit`` the most frequent, of equal ones those that sort first.

    Args:
        words: Distinct words.
        counts: Train rows of each word ``[N]``.
        limit: Largest number of words.
    """
    frequency = {word: count for word, count in zip(words, counts.tolist(), strict=True) if count}
    if len(frequency) > limit:
        return tuple(sorted(sorted(frequency, key=lambda word: (-frequency[word], word))[:limit]))
    return tuple(sorted(frequency))


def id_table(words: Sequence[str], vocabulary: Sequence[str]) -> npt.NDArray[np.int32]:
    """The ids (:mod:`distmtl.features`) of numbered words ``[N + 1]``; the last one is that of null, number -1."""
    ids = {word: FIRST_ID + i for i, word in enumerate(vocabulary)}
    return np.array([ids.get(word, UNKNOWN_ID) for word in words] + [MISSING_ID], np.int32)


def categorical_statistics(
    nulls: int, counts: npt.NDArray[Any], table: npt.NDArray[np.int32], vocabulary: int, *, train: bool
) -> CategoricalStatistics:
    """Statistics of a categorical column over the rows of a split.

    Args:
        nulls: Rows without a word.
        counts: Rows of each numbered word ``[N]``.
        table: What :func:`id_table` gave for the words.
        vocabulary: Size of the vocabulary.
        train: Whether the split is train.
    """
    by_id = np.zeros(FIRST_ID + vocabulary, np.int64)
    np.add.at(by_id, table[:-1], counts)
    keep = train or vocabulary <= VALUES_LIMIT
    return CategoricalStatistics(nulls, int(by_id[UNKNOWN_ID]), tuple(by_id[FIRST_ID:].tolist()) if keep else None)
