"""Rows that are appended to a source: the types that its columns have already, and the statistics of all rows together.

Words that are new get the ids after those of the words that were there before, so that no stored id changes. A word
that was unknown in earlier rows stays unknown in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from distmtl.data.infer import TypingOptions, nearest
from distmtl.data.ingest.folds import quantiles
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.moments import Moments
from distmtl.data.manifest import (
    TRAIN,
    VALUES_LIMIT,
    CategoricalStatistics,
    Column,
    LengthStatistics,
    Manifest,
    NumericStatistics,
    SplitInfo,
    Statistics,
)
from distmtl.data.merge_statistics import merge_numeric
from distmtl.data.splits import standing
from distmtl.data.tensors import TensorLayout
from distmtl.errors import SourceError

_AGAIN = "Correct the files, or pack all of them again into a new source."


def known_typing(base: Manifest, schema: pa.Schema, typing: TypingOptions, where: str) -> TypingOptions:
    """What the caller knows about columns, and what the source says of them.

    Raises:
        SourceError: The inputs have other columns.
    """
    columns = {column.name: column for column in base.columns}
    for name in schema.names:
        if name not in columns:
            raise SourceError(
                f"the files have the column '{name}', but the source has not.", where, f"Use --drop {name}."
            )
    for name in columns:
        if name not in schema.names:
            raise SourceError(
                f"the source has the column '{name}', but the files have not.", where, nearest(name, schema.names)
            )
    return replace(
        typing,
        categorical=tuple(name for name, column in columns.items() if column.kind == "categorical"),
        text=tuple(name for name, column in columns.items() if column.kind == "text"),
        numeric=tuple(name for name in typing.numeric if columns[name].kind == "numeric"),
        tensors={
            name: TensorLayout(column.dtype, column.shape)
            for name, column in columns.items()
            if column.kind == "tensor" and pa.types.is_binary(schema.field(name).type)
        }
        | dict(typing.tensors),
    )


def fit(found: ColumnType, column: Column, where: str) -> ColumnType:
    """The type that appended values are stored as.

    Raises:
        SourceError: They do not fit the column of the source.
    """
    empty = found.kind == "numeric" and found.origin == "null"
    if column.kind == "ragged" and found.kind == "tensor" and len(found.shape) == 1:
        found = replace(found, kind="ragged", shape=())
    if (found.kind, found.shape) != (column.kind, column.shape):
        raise SourceError(
            f"column '{column.name}' is {_said(column)} in the source and {_said(found.column())} in the files.",
            where,
            _AGAIN,
        )
    if column.dtype != found.dtype and not empty and not _holds(column.dtype, found.dtype):
        raise SourceError(
            f"column '{column.name}' holds {found.dtype} numbers, which {column.dtype} in the source cannot hold.",
            where,
            _AGAIN,
        )
    return replace(found, dtype=column.dtype, origin=column.origin)


def _holds(stored: str, found: str) -> bool:
    # The first files may have had fractions where these have whole numbers: float32 was enough for their deviation.
    return (stored, found) == ("float32", "int32") or bool(np.can_cast(found, stored, "safe"))


def _said(column: Column) -> str:
    return f"a tensor of shape {list(column.shape)}" if column.kind == "tensor" else column.kind


def appended_vocabulary(before: Sequence[str], words: Mapping[str, int], limit: int) -> tuple[str, ...]:
    """The words of a source, then the new ones in order, the most frequent of them where there are too many.

    Args:
        before: The vocabulary of the source.
        words: Appended train rows of each word.
        limit: Largest number of words.
    """
    known = set(before)
    new = {word: count for word, count in words.items() if count and word not in known}
    room = max(0, limit - len(before))
    most = sorted(new, key=lambda word: (-new[word], word))[:room]
    return (*before, *sorted(most))


def merge_infos(
    before: Mapping[str, SplitInfo], after: Mapping[str, SplitInfo], columns: Sequence[Column]
) -> dict[str, SplitInfo]:
    """The splits of a source with the appended rows."""
    merged = {}
    for name in sorted({*before, *after}, key=standing):
        old, new = before.get(name), after.get(name)
        parts = [info for info in (old, new) if info is not None]
        statistics = {
            column.name: _merged(column, [(info.rows, info.statistics[column.name]) for info in parts], name == TRAIN)
            for column in columns
            if column.kind != "tensor"
        }
        merged[name] = SplitInfo(sum(i.rows for i in parts), sum(i.blocks for i in parts), statistics)
    return merged


def _merged(column: Column, parts: Sequence[tuple[int, Statistics]], train: bool) -> Statistics:  # noqa: FBT001
    numeric = [(rows, s) for rows, s in parts if isinstance(s, NumericStatistics)]
    if numeric:
        return _merged_numeric(column, numeric, train=train)
    counted = [s for _, s in parts if isinstance(s, CategoricalStatistics)]
    if counted:
        return _merged_words(len(column.vocabulary), counted, train=train)
    return _merged_lengths([(rows, s) for rows, s in parts if isinstance(s, LengthStatistics)])


def _merged_words(words: int, parts: Sequence[CategoricalStatistics], *, train: bool) -> CategoricalStatistics:
    counts: tuple[int, ...] | None = None
    if (train or words <= VALUES_LIMIT) and all(part.counts is not None for part in parts):
        total = np.zeros(words, np.int64)
        for part in parts:
            total[: len(part.counts or ())] += np.array(part.counts, np.int64)
        counts = tuple(total.tolist())
    return CategoricalStatistics(sum(part.nulls for part in parts), sum(part.unknown for part in parts), counts)


def _merged_lengths(parts: Sequence[tuple[int, LengthStatistics]]) -> LengthStatistics:
    nulls = sum(s.nulls for _, s in parts)
    filled = sum(rows for rows, _ in parts) - nulls
    total = sum(s.total_length for _, s in parts)
    return LengthStatistics(nulls, total / filled if filled else 0.0, max(s.max_length for _, s in parts), total)


def _merged_numeric(
    column: Column, parts: Sequence[tuple[int, NumericStatistics]], *, train: bool
) -> NumericStatistics:
    nulls, infinite = sum(s.nulls for _, s in parts), sum(s.infinite for _, s in parts)
    filled = [(rows, s) for rows, s in parts if s.mean is not None]
    if len(filled) < 2:
        alone = filled[0][1] if filled else parts[0][1]
        return replace(alone, nulls=nulls, infinite=infinite)
    moments = Moments()
    for rows, s in filled:
        moments += Moments(rows - s.nulls - s.infinite, s.mean or 0.0, s.std or 0.0)
    low = min(s.minimum for _, s in filled if s.minimum is not None)
    high = max(s.maximum for _, s in filled if s.maximum is not None)
    counts = _merged_counts([s for _, s in filled])
    return NumericStatistics(
        nulls=nulls,
        infinite=infinite,
        mean=min(max(moments.mean, float(low)), float(high)),
        std=0.0 if low == high else moments.std,
        minimum=low,
        maximum=high,
        quantiles=_merged_quantiles(column.name, filled, counts) if train else (),
        values=None if counts is None else tuple(counts),
        counts=None if counts is None else tuple(counts.values()),
    )


def _merged_counts(parts: Sequence[NumericStatistics]) -> dict[float, int] | None:
    counts: dict[float, int] = {}
    for part in parts:
        if part.values is None or part.counts is None:
            return None
        for value, count in zip(part.values, part.counts, strict=True):
            counts[value] = counts.get(value, 0) + count
    return dict(sorted(counts.items())) if len(counts) <= VALUES_LIMIT else None


def _merged_quantiles(
    name: str, parts: Sequence[tuple[int, NumericStatistics]], counts: Mapping[float, int] | None
) -> tuple[float, ...]:
    """Exact where all values are known; else those of the distributions that the parts' quantiles draw."""
    if counts is not None:
        return quantiles(np.array(list(counts)), np.array(list(counts.values())))
    return merge_numeric(name, [(rows, s) for rows, s in parts if s.quantiles]).quantiles
