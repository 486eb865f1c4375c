"""Statistics of the rows of one split, from batches of stored values; inputs are merged in their order."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.moments import Moments, MomentsFold
from distmtl.data.ingest.numbers import plain_values
from distmtl.data.manifest import QUANTILES, VALUES_LIMIT, LengthStatistics, NumericStatistics

Mask = npt.NDArray[np.bool_]

_COUNTED_RANGE = 1 << 16
"""Integers in a range as small as this are counted in a table instead of sorted."""


class Fold(Protocol):
    """Takes batches of a column, one input at a time."""

    def add(self, values: Any, sampled: Mask) -> None:
        """Take stored values ``[N]``; quantiles come from those that are ``sampled``."""
        ...

    def finish(self) -> None:
        """End the input."""
        ...

    def merge(self, other: Any) -> None:
        """Take what the next input has."""
        ...


def fold_of(column: ColumnType, *, train: bool) -> Fold | None:
    """The fold for a column in a split, or None for a tensor."""
    match column.kind:
        case "numeric":
            return NumberFold(train)
        case "categorical":
            return CountFold()
        case "tensor":
            return None
        case "ragged":
            return LengthFold(np.dtype(column.dtype).itemsize)
        case _:
            return LengthFold(1)


@dataclass
class NumberFold:
    """Numeric values of a split; quantiles only of train."""

    train: bool
    nulls: int = 0
    infinite: int = 0
    low: Any = None
    high: Any = None
    moments: Moments = field(default_factory=Moments)
    distinct: dict[Any, int] | None = field(default_factory=dict)
    sample: list[npt.NDArray[Any]] = field(default_factory=list)
    _fold: MomentsFold = field(default_factory=MomentsFold)

    def add(self, values: Any, sampled: Mask) -> None:  # noqa: D102
        numbers, valid = plain_values(values)
        keep = valid
        if numbers.dtype.kind == "f":
            keep = valid & np.isfinite(numbers)
            numbers = numbers + numbers.dtype.type(0)  # there are two zeros, and which one comes first is chance
        present = int(valid.sum())
        finite = numbers if keep.all() else numbers[keep]
        self.nulls += len(numbers) - present
        self.infinite += present - len(finite)
        if not len(finite):
            return
        low, high = finite.min().item(), finite.max().item()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        self._fold.add(finite)
        self._count(finite, low, high)
        if self.train:
            self.sample.append(numbers[keep & sampled])

    def _count(self, finite: npt.NDArray[Any], low: Any, high: Any) -> None:
        if self.distinct is None:
            return
        if finite.dtype.kind == "i" and high - low < _COUNTED_RANGE:
            counts = np.bincount(finite.astype(np.int64) - low)
            found = np.flatnonzero(counts)
            values, counts = found + low, counts[found]
        else:
            values, counts = _sorted_counts(finite)
        few = len(values) <= VALUES_LIMIT
        self._merge_counts(dict(zip(values.tolist(), counts.tolist(), strict=True)) if few else None)

    def _merge_counts(self, counts: dict[Any, int] | None) -> None:
        if self.distinct is None or counts is None:
            self.distinct = None
            return
        for value, count in counts.items():
            self.distinct[value] = self.distinct.get(value, 0) + count
        if len(self.distinct) > VALUES_LIMIT:
            self.distinct = None

    def finish(self) -> None:  # noqa: D102
        self.moments += self._fold.finish()
        self._fold = MomentsFold()
        self.sample = [np.concatenate(self.sample)] if self.sample else []

    def merge(self, other: "NumberFold") -> None:  # noqa: D102
        self.nulls += other.nulls
        self.infinite += other.infinite
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        self.low, self.high = min(lows, default=None), max(highs, default=None)
        self.moments += other.moments
        self._merge_counts(other.distinct)
        self.sample += other.sample

    def _quantiles(self, distinct: dict[Any, int] | None) -> tuple[float, ...]:
        """Quantiles of the rows, or where there are too many of the sampled ones, with the extremes of all."""
        if distinct is not None:
            return quantiles(np.array(list(distinct)), np.array(list(distinct.values())))
        values = np.sort(np.concatenate(self.sample)) if self.sample else np.empty(0)
        if not len(values):
            return (self.low,) * (QUANTILES - 1) + (self.high,)
        return (self.low, *quantiles(values, np.ones(len(values), np.int64))[1:-1], self.high)

    def statistics(self) -> NumericStatistics:
        """What was taken."""
        if self.low is None:
            return NumericStatistics(self.nulls, self.infinite, None, None, None, None, (), (), ())
        same = self.low == self.high
        distinct = None if self.distinct is None else dict(sorted(self.distinct.items()))
        return NumericStatistics(
            nulls=self.nulls,
            infinite=self.infinite,
            mean=float(self.low) if same else min(max(self.moments.mean, float(self.low)), float(self.high)),
            std=0.0 if same else self.moments.std,
            minimum=self.low,
            maximum=self.high,
            quantiles=self._quantiles(distinct) if self.train else (),
            values=None if distinct is None else tuple(distinct),
            counts=None if distinct is None else tuple(distinct.values()),
        )


def quantiles(values: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[float, ...]:
    """The values nearest to the cuts into equal shares: always values of the column.

    Args:
        values: Ascending values ``[N]``.
        counts: Rows with each of them ``[N]``.
    """
    ends = np.cumsum(counts)
    cuts = np.rint(np.arange(QUANTILES) * ((int(ends[-1]) - 1) / (QUANTILES - 1))).astype(np.int64)
    return tuple(values[np.searchsorted(ends, cuts, side="right")].tolist())


def _sorted_counts(numbers: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The distinct numbers, ascending, and how often each occurs."""
    ascending = np.sort(numbers)
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    return ascending[starts], np.diff(np.append(starts, len(ascending)))


@dataclass
class CountFold:
    """Rows of each word of a categorical column in a split; values are numbers of words, -1 for null.

    Exact however many rows and threads there are: counts have no order.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def add(self, values: Any, sampled: Mask) -> None:  # noqa: ARG002, D102
        self._take(np.bincount(values.to_numpy() + 1, minlength=1))

    def _take(self, found: npt.NDArray[Any]) -> None:
        if len(found) > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(len(found) - len(self.counts), np.int64)])
        self.counts[: len(found)] += found

    def finish(self) -> None:  # noqa: D102
        return

    def merge(self, other: "CountFold") -> None:  # noqa: D102
        self._take(other.counts)

    @property
    def nulls(self) -> int:
        """Rows without a word."""
        return int(self.counts[0])

    def of_words(self, words: int) -> npt.NDArray[np.int64]:
        """Rows of each word ``[words]``."""
        found = np.zeros(words, np.int64)
        found[: len(self.counts) - 1] = self.counts[1:]
        return found


@dataclass
class LengthFold:
    """Lengths of text, bytes and ragged rows of a split, in units of ``width`` bytes."""

    width: int
    rows: int = 0
    nulls: int = 0
    longest: int = 0
    total: int = 0

    def add(self, values: Any, sampled: Mask) -> None:  # noqa: ARG002, D102
        lengths = pc.binary_length(values)
        self.rows += len(values)
        self.nulls += values.null_count
        self.longest = max(self.longest, (pc.max(lengths).as_py() or 0) // self.width)
        self.total += (pc.sum(lengths).as_py() or 0) // self.width

    def finish(self) -> None:  # noqa: D102
        return

    def merge(self, other: "LengthFold") -> None:  # noqa: D102
        self.rows += other.rows
        self.nulls += other.nulls
        self.longest = max(self.longest, other.longest)
        self.total += other.total

    def statistics(self) -> LengthStatistics:
        """What was taken."""
        filled = self.rows - self.nulls
        return LengthStatistics(self.nulls, self.total / filled if filled else 0.0, self.longest, self.total)
