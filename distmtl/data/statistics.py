"""Statistics of a column over the rows of one split, and the vocabulary of a categorical one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.manifest import QUANTILES, VALUES_LIMIT, CategoricalStatistics, NumericStatistics
from distmtl.features import FIRST_ID, MISSING_ID, UNKNOWN_ID

_SAFE = 1e100
"""Numbers up to this can be squared and summed in float64; larger ones are divided by a power of two first."""

_UNIT = 2.0**1000


def numeric_statistics(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, *, train: bool
) -> NumericStatistics:
    """Statistics of ``[N]`` numbers, of which ``valid`` are not null; quantiles only of the train split."""
    rows = len(values)
    present = values if valid is None else values[valid]
    finite = np.sort(present[np.isfinite(present)] if present.dtype.kind == "f" else present)
    nulls, infinite = rows - len(present), len(present) - len(finite)
    if not finite.size:
        return NumericStatistics(nulls, infinite, None, None, None, None, (), (), ())
    mean, std = mean_and_std(finite)
    distinct = _distinct(finite)
    return NumericStatistics(
        nulls=nulls,
        infinite=infinite,
        mean=mean,
        std=std,
        minimum=finite[0].item(),
        maximum=finite[-1].item(),
        quantiles=_quantiles(finite) if train else (),
        values=distinct[0] if distinct else None,
        counts=distinct[1] if distinct else None,
    )


def mean_and_std(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and population standard deviation of finite numbers, in float64 and without overflow."""
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if max(-low, high) > _SAFE:
        wide /= _UNIT
        return min(max(float(wide.mean()) * _UNIT, low), high), float(wide.std()) * _UNIT
    return float(wide.mean()), float(wide.std())


def _quantiles(ascending: npt.NDArray[Any]) -> tuple[float, ...]:
    """The values nearest to the cuts into equal shares: always values of the column, the extremes included."""
    cuts = np.rint(np.arange(QUANTILES) * ((len(ascending) - 1) / (QUANTILES - 1))).astype(np.int64)
    return tuple(ascending[cuts].tolist())


def _distinct(ascending: npt.NDArray[Any]) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    if len(starts) > VALUES_LIMIT:
        return None
    counts = np.diff(np.append(starts, len(ascending)))
    return tuple(ascending[starts].tolist()), tuple(counts.tolist())


def build_vocabulary(words: Sequence[str], codes: npt.NDArray[Any], limit: int) -> tuple[str, ...]:
    """The sorted words of the train rows; past ``limit`` the most frequent, of equal ones those that sort first.

    Args:
        words: Distinct words.
        codes: Index into ``words`` of each train row, -1 for null.
        limit: Largest number of words.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(words)).tolist()
    frequency = {word: count for word, count in zip(words, counts, strict=True) if count}
    most = sorted(frequency, key=lambda word: (-frequency[word], word))[:limit]
    return tuple(sorted(most))


def vocabulary_ids(words: Sequence[str], codes: npt.NDArray[Any], vocabulary: Sequence[str]) -> npt.NDArray[np.int32]:
    """The ids (:mod:`distmtl.features`) of rows whose values are ``words[codes]``."""
    ids = {word: FIRST_ID + i for i, word in enumerate(vocabulary)}
    table = np.array([ids.get(word, UNKNOWN_ID) for word in words] + [MISSING_ID], np.int32)
    found: npt.NDArray[np.int32] = table[codes]  # code -1 takes the last entry
    return found


def categorical_statistics(ids: npt.NDArray[Any], vocabulary: int, *, train: bool) -> CategoricalStatistics:
    """Statistics of ``[N]`` ids of a vocabulary of this size."""
    counts = np.bincount(ids, minlength=FIRST_ID + vocabulary).tolist()
    keep = train or vocabulary <= VALUES_LIMIT
    return CategoricalStatistics(counts[MISSING_ID], counts[UNKNOWN_ID], tuple(counts[FIRST_ID:]) if keep else None)
