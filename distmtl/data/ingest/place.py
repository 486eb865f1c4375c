"""Where each row goes: its split, and its key in the order of that split.

Both are functions of the seed, the number of the row among all inputs, and where asked its value in a column; no row
needs to see another one. The rows of a split are written in the order of their keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distmtl.data.ingest import strings
from distmtl.data.manifest import TRAIN
from distmtl.data.permute import key, permute
from distmtl.data.splits import split_name, standing
from distmtl.errors import SourceError

Rows = npt.NDArray[np.int64]
Splits = npt.NDArray[np.int16]

_SAMPLED_VALUES = 2**24
_SAMPLED_ROWS = (2**16, 2**20)
"""Quantiles are of so many train rows at most: about 2^24 values in all columns, but never fewer than 2^16 rows."""

_BINS = 2**20
"""Groups are told apart by 20 bits of a hash: two that share them go to the same split."""

_MOST_SPLITS = 1000


class SplitRule(Protocol):
    """Decides the split of each row."""

    @property
    def names(self) -> tuple[str, ...]:
        """The splits, by number."""
        ...

    def split_of(self, number: int, first: int, batch: pa.RecordBatch) -> Splits:
        """Index into ``names`` of each row ``[N]`` of a batch.

        Args:
            number: Which input it is of.
            first: Number of its first row among the rows of all inputs.
            batch: The batch.
        """
        ...


@dataclass(frozen=True)
class ByInput:
    """Every input belongs to one split: ``of[number]``."""

    names: tuple[str, ...]
    of: tuple[int, ...]

    def split_of(self, number: int, first: int, batch: pa.RecordBatch) -> Splits:  # noqa: ARG002, D102
        return np.full(batch.num_rows, self.of[number], np.int16)


@dataclass(frozen=True)
class ByFraction:
    """Rows are drawn at random: those that a permutation of all ``rows`` sends before ``ends[0]`` are of split 0."""

    names: tuple[str, ...]
    ends: tuple[int, ...]
    rows: int
    key: int

    def split_of(self, number: int, first: int, batch: pa.RecordBatch) -> Splits:  # noqa: ARG002, D102
        places = permute(np.arange(first, first + batch.num_rows), self.rows, self.key)
        return np.searchsorted(np.array(self.ends), places, side="right").astype(np.int16)


@dataclass(frozen=True)
class ByColumn:
    """A column names each row's split."""

    names: tuple[str, ...]
    column: str
    nulls: tuple[str, ...] | None

    def split_of(self, number: int, first: int, batch: pa.RecordBatch) -> Splits:  # noqa: ARG002, D102
        encoded = words_of(self.column, batch, self.nulls).dictionary_encode()
        splits = np.array([self.names.index(split_name(word)) for word in encoded.dictionary.to_pylist()], np.int16)
        found: Splits = splits[encoded.indices.to_numpy()]
        return found


@dataclass(frozen=True)
class ByGroup:
    """Rows of one value of a column stay together; ``cuts`` are the ends of the splits in the bins of its hash."""

    names: tuple[str, ...]
    column: str
    nulls: tuple[str, ...] | None
    seed: int
    cuts: tuple[int, ...]

    def split_of(self, number: int, first: int, batch: pa.RecordBatch) -> Splits:  # noqa: ARG002, D102
        bins = group_bins(self.column, batch, self.nulls, self.seed)
        return np.searchsorted(np.array(self.cuts), bins, side="right").astype(np.int16)


@dataclass(frozen=True)
class Placing:
    """Splits, order and sample of the rows.

    Attributes:
        rule: Decides the splits.
        counts: Rows of each split.
        rows: Rows of all inputs.
        order: ``shuffle`` or ``keep``.
        seed: Of the order.
        sample_below: Rows whose sampling key is less than this are of the sample; quantiles come from its train rows.
    """

    rule: SplitRule
    counts: tuple[int, ...]
    rows: int
    order: Literal["shuffle", "keep"]
    seed: int
    sample_below: int

    def keys(self, first: int, count: int) -> Rows:
        """Keys ``[count]`` in ``range(rows)`` of the rows from ``first`` on."""
        numbers = np.arange(first, first + count)
        return numbers if self.order == "keep" else permute(numbers, self.rows, key(self.seed, "pack", "order"))

    def sampled(self, first: int, count: int) -> npt.NDArray[np.bool_]:
        """Which of the rows from ``first`` on are of the sample ``[count]``."""
        if self.sample_below >= self.rows:
            return np.ones(count, bool)
        places = permute(np.arange(first, first + count), self.rows, key(self.seed, "pack", "sample"))
        return places < self.sample_below


def placing(
    rule: SplitRule, counts: Sequence[int], numeric: int, order: Literal["shuffle", "keep"], seed: int
) -> Placing:
    """Place rows whose splits are known, with a sample that bounds the values of ``numeric`` columns."""
    rows = sum(counts)
    train = counts[rule.names.index(TRAIN)] if TRAIN in rule.names else 0
    low, high = _SAMPLED_ROWS
    wanted = min(high, max(low, _SAMPLED_VALUES // max(1, numeric)))
    below = rows if train <= wanted else rows * wanted // train
    return Placing(rule, tuple(counts), rows, order, seed, below)


def check_fractions(fractions: Mapping[str, float]) -> dict[str, float]:
    """Shares by split, under the names that a source has, in the order of splits.

    Raises:
        SourceError: They are not positive numbers of sum 1.
    """
    if any(not share > 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        text = ", ".join(f"{name}={share:g}" for name, share in fractions.items())
        raise SourceError(f"the fractions {text} are not positive numbers of sum 1.", remedy="Correct --fractions.")
    named = {split_name(split): share for split, share in fractions.items()}
    return dict(sorted(named.items(), key=lambda item: standing(item[0])))


def by_fraction(rows: int, fractions: Mapping[str, float], seed: int) -> tuple[ByFraction, list[int]]:
    """Split rows at random in exact shares; also the rows of each split, some of which may be 0."""
    ends = np.rint(rows * np.cumsum(list(fractions.values()))).astype(np.int64)
    ends[-1] = rows
    rule = ByFraction(tuple(fractions), tuple(ends.tolist()), rows, key(seed, "pack", "split"))
    return rule, np.diff(ends, prepend=0).tolist()


def by_column(column: str, words: Mapping[str, int], nulls: tuple[str, ...] | None) -> tuple[ByColumn, list[int]]:
    """Split rows by the words of a column, whose rows are known."""
    rows: dict[str, int] = {}
    for word, count in words.items():
        rows[split_name(word)] = rows.get(split_name(word), 0) + count
    names = tuple(sorted(rows, key=standing))
    return ByColumn(names, column, nulls), [rows[name] for name in names]


def group_cuts(bins: npt.NDArray[np.int64], fractions: Mapping[str, float]) -> tuple[int, ...]:
    """Cuts between bins of groups, each where the rows before it are nearest to the shares before it."""
    ends = np.concatenate([[0], np.cumsum(bins)])
    cuts, last = [], 0
    for target in ends[-1] * np.cumsum(list(fractions.values()))[:-1]:
        near = int(np.searchsorted(ends, target))
        if near and abs(ends[near - 1] - target) <= abs(ends[near] - target):
            near = int(np.searchsorted(ends, ends[near - 1]))  # the first cut of those between the same two groups
        last = max(last, near)
        cuts.append(last)
    return (*cuts, _BINS)


def rows_of_cuts(bins: npt.NDArray[np.int64], cuts: Sequence[int]) -> list[int]:
    """Rows of each split of groups, some of which may be 0."""
    ends = np.concatenate([[0], np.cumsum(bins)])
    counts: list[int] = np.diff(ends[list(cuts)], prepend=0).tolist()
    return counts


@dataclass
class ControlCounts:
    """What a scan has to know of the column that splits the rows.

    Attributes:
        column: The column, or None.
        grouped: Whether its values are groups, rather than names of splits.
        nulls: What is null in text files; None for others.
        seed: Of the groups.
        words: Rows of each value, where the values are splits.
        bins: Rows of each bin of groups.
        missing: Rows without a value.
    """

    column: str | None
    grouped: bool
    nulls: tuple[str, ...] | None
    seed: int

    def __post_init__(self) -> None:
        self.words: dict[str, int] = {}
        self.bins = np.zeros(_BINS if self.grouped else 0, np.int64)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch.

        Raises:
            SourceError: A row has no value, or the values are too many to be splits.
        """
        if self.column is None:
            return
        if self.grouped:
            found = group_bins(self.column, batch, self.nulls, self.seed)
            np.add.at(self.bins, found, 1)
            return
        for entry in words_of(self.column, batch, self.nulls).value_counts().to_pylist():
            self.words[entry["values"]] = self.words.get(entry["values"], 0) + entry["counts"]
        if len(self.words) > _MOST_SPLITS:
            raise SourceError(
                f"split column '{self.column}' has more than {_MOST_SPLITS} values.",
                remedy="Give a column that names splits, such as train and test.",
            )

    def merge(self, other: "ControlCounts") -> None:
        """Take what another input has."""
        for word, count in other.words.items():
            self.words[word] = self.words.get(word, 0) + count
        self.bins += other.bins


def words_of(column: str, batch: pa.RecordBatch, nulls: tuple[str, ...] | None) -> Any:
    """The values of a column as strings, none of them null.

    Raises:
        SourceError: A row has no value.
    """
    array = batch.column(column)
    if nulls is not None and strings.is_string(array.type):
        array = strings.with_nulls(array, nulls)
    words = strings.as_names(column, array, whole=False)
    if words.null_count:
        raise SourceError(
            f"column '{column}', which decides the splits, is null in {words.null_count} rows.",
            remedy="Give every row a value.",
        )
    return words


def group_bins(column: str, batch: pa.RecordBatch, nulls: tuple[str, ...] | None, seed: int) -> npt.NDArray[np.int64]:
    """The bin of each row's group ``[N]``."""
    encoded = words_of(column, batch, nulls).dictionary_encode()
    keyed = strings.hashes(encoded.dictionary, key(seed, "pack", "group"))
    bins = (keyed >> np.uint64(44)).astype(np.int64)
    found: npt.NDArray[np.int64] = bins[encoded.indices.to_numpy()]
    return found
