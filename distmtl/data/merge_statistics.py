"""One description of a column from its statistics in several sources, as if their train rows were one split."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from distmtl.data.manifest import QUANTILES, VALUES_LIMIT, NumericStatistics
from distmtl.features import CategoricalColumn, NumericColumn

_Floats = npt.NDArray[np.float64]


def merge_numeric(name: str, parts: Sequence[tuple[int, NumericStatistics]]) -> NumericColumn:
    """Merge statistics of a numeric column; exact but for the quantiles of several parts.

    Args:
        name: The column.
        parts: Train rows and statistics of each source.

    Returns:
        The merged column; one without any value has zeros and a null share of 1.
    """
    rows = sum(count for count, _ in parts)
    filled = [(count - s.nulls - s.infinite, s) for count, s in parts if s.mean is not None]
    values = sum(count for count, _ in filled)
    if not values:
        return NumericColumn(name, 0.0, 0.0, 0.0, 0.0, 1.0, (0.0,) * QUANTILES)
    means = [s.mean or 0.0 for _, s in filled]
    shares = [count / values for count, _ in filled]
    counts = _merged_counts([s for _, s in filled])
    mean = means[0] if len(filled) == 1 else sum(share * m for share, m in zip(shares, means, strict=True))
    return NumericColumn(
        name=name,
        mean=mean,
        std=_merged_std([s.std or 0.0 for _, s in filled], means, mean, shares),
        minimum=float(min(s.quantiles[0] for _, s in filled)),
        maximum=float(max(s.quantiles[-1] for _, s in filled)),
        null_share=sum(s.nulls for _, s in parts) / rows,
        quantiles=_merged_quantiles([np.array(s.quantiles, np.float64) for _, s in filled], shares),
        values=tuple(counts),
        counts=tuple(counts.values()),
    )


def merge_categorical(name: str, parts: Sequence[tuple[tuple[str, ...], tuple[int, ...]]]) -> CategoricalColumn:
    """The sorted union of vocabularies, counts summed.

    Args:
        name: The column.
        parts: Vocabulary and counts of each source.
    """
    counts: dict[str, int] = {}
    for vocabulary, numbers in parts:
        for word, number in zip(vocabulary, numbers, strict=True):
            counts[word] = counts.get(word, 0) + number
    words = sorted(counts)
    return CategoricalColumn(name, tuple(words), tuple(counts[word] for word in words))


def _merged_std(stds: Sequence[float], means: Sequence[float], mean: float, shares: Sequence[float]) -> float:
    """Root of the law of total variance; numbers are divided by the largest first, so that no square overflows."""
    if len(stds) == 1:
        return stds[0]
    offsets = [m - mean for m in means]
    unit = max(*map(abs, stds), *map(abs, offsets)) or 1.0
    parts = zip(shares, stds, offsets, strict=True)
    return unit * sqrt(sum(share * ((std / unit) ** 2 + (offset / unit) ** 2) for share, std, offset in parts))


def _merged_counts(parts: Sequence[NumericStatistics]) -> dict[float, int]:
    """Rows by distinct value, ascending; empty where a part, or all together, have too many to keep."""
    merged: dict[float, int] = {}
    for part in parts:
        if part.values is None or part.counts is None:
            return {}
        for value, count in zip(part.values, part.counts, strict=True):
            merged[float(value)] = merged.get(float(value), 0) + count
    return dict(sorted(merged.items())) if len(merged) <= VALUES_LIMIT else {}


def _merged_quantiles(parts: Sequence[_Floats], shares: Sequence[float]) -> tuple[float, ...]:
    """Quantiles of the mixture of the piecewise-linear distributions that go through the parts' quantiles.

    Where a value is repeated a distribution jumps, so each is followed along its left and its right limits.
    """
    if len(parts) == 1:
        return tuple(parts[0].tolist())
    x = np.unique(np.concatenate(parts))
    right = np.sum([share * _share_up_to(x, part) for part, share in zip(parts, shares, strict=True)], axis=0)
    left = 1.0 - np.sum(
        [share * _share_up_to(-x[::-1], -part[::-1])[::-1] for part, share in zip(parts, shares, strict=True)], axis=0
    )
    height = np.maximum.accumulate(np.column_stack([left, right]).ravel())
    cuts = np.linspace(0.0, 1.0, QUANTILES)
    merged = np.interp(cuts, height, np.repeat(x, 2))
    merged[0], merged[-1] = x[0], x[-1]
    return tuple(np.maximum.accumulate(merged).tolist())


def _share_up_to(x: _Floats, quantiles: _Floats) -> _Floats:
    """Share of a part's values that are at most ``x``, from its quantiles."""
    cuts = np.linspace(0.0, 1.0, len(quantiles))
    values, first = np.unique(quantiles, return_index=True)
    last = np.append(first[1:], len(quantiles)) - 1
    steps = np.column_stack([cuts[first], cuts[last]]).ravel()
    shares: _Floats = np.interp(x, np.repeat(values, 2), steps, left=0.0, right=1.0)
    return shares
