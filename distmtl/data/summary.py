"""A source in a few words for people and scripts: plain JSON values, and some of its rows."""

from typing import Any

import numpy as np

from distmtl.data.manifest import (
    TRAIN,
    CategoricalStatistics,
    Column,
    LengthStatistics,
    Manifest,
    NumericStatistics,
    SplitInfo,
    Statistics,
)
from distmtl.data.source import Source
from distmtl.features import FIRST_ID, MISSING_ID

FEW_VALUES = 20
"""A column with at most this many values may be a label: its balance is shown."""

BARS = 8
"""Bars of a histogram."""

_SHOWN = 3
"""Numbers shown of a long row."""


def summarise(uri: str, manifest: Manifest) -> dict[str, Any]:
    """Splits and columns of a source as JSON values; column statistics are of train, nulls of each split."""
    return {
        "source": uri,
        "digest": manifest.digest,
        "rows": manifest.rows,
        "bytes": sum(shard.bytes for shard in manifest.shards),
        "block_rows": manifest.block_rows,
        "packed": dict(manifest.packed),
        "splits": {name: {"rows": info.rows, "blocks": info.blocks} for name, info in manifest.splits.items()},
        "columns": {column.name: _column(manifest, column) for column in manifest.columns},
    }


def balance(column: Column, info: SplitInfo) -> dict[str, int] | None:
    """Rows of each value of a column with few values in a split, or None."""
    statistics = info.statistics.get(column.name)
    if isinstance(statistics, CategoricalStatistics):
        if len(column.vocabulary) > FEW_VALUES or statistics.counts is None:
            return None
        return dict(zip(column.vocabulary, statistics.counts, strict=True))
    if not isinstance(statistics, NumericStatistics) or statistics.values is None or statistics.counts is None:
        return None
    if not 0 < len(statistics.values) <= FEW_VALUES:
        return None
    return {f"{value:g}": count for value, count in zip(statistics.values, statistics.counts, strict=True)}


def histogram(statistics: Statistics | None) -> list[float]:
    """Shares of the rows in :data:`BARS` ranges of equal width; of names, shares of the most frequent ones.

    Returns:
        One share per bar, or [] where nothing is known or there is only one value.
    """
    if isinstance(statistics, CategoricalStatistics):
        counts = sorted(statistics.counts or (), reverse=True)[:BARS]
        return [count / max(1, sum(statistics.counts or ())) for count in counts] if len(counts) > 1 else []
    if not isinstance(statistics, NumericStatistics) or statistics.minimum == statistics.maximum:
        return []
    if statistics.values is not None and statistics.counts is not None:
        values, weights = np.array(statistics.values, np.float64), np.array(statistics.counts, np.float64)
    else:
        values = np.array(statistics.quantiles, np.float64)
        weights = np.ones(len(values))
    if not len(values) or not np.isfinite(values[-1] - values[0]):
        return []
    counts_of_bars, _ = np.histogram(values, BARS, weights=weights)
    shares: list[float] = (counts_of_bars / weights.sum()).tolist()
    return shares


def sample_rows(source: Source, split: str, rows: int) -> list[dict[str, Any]]:
    """The first rows of a split as they were before packing.

    A tensor is named by its type and shape, bytes by their number, and a ragged row is shown by its first numbers.

    Raises:
        SourceError: There is no such split, or its blocks cannot be read.
    """
    part = source.split(split)
    plain = [column for column in source.manifest.columns if column.kind != "tensor"]
    found: list[dict[str, Any]] = []
    for block in range(part.blocks):
        if len(found) >= rows:
            break
        table = part.read_block(block, [column.name for column in plain]).slice(0, rows - len(found))
        # A source of tensors alone has rows, too.
        found += table.to_pylist() or [{}] * min(rows - len(found), int(part.block_row_counts[block]))
    return [{column.name: _value(column, row.get(column.name)) for column in source.manifest.columns} for row in found]


def kind_text(column: Column) -> str:
    """A column's kind as people read it."""
    if column.kind == "tensor":
        return f"tensor {column.dtype} {list(column.shape)}"
    return f"ragged {column.dtype}" if column.kind == "ragged" else column.kind


def _value(column: Column, value: Any) -> Any:
    if column.kind == "tensor":
        return f"<{column.dtype} {list(column.shape)}>"
    if column.kind == "bytes" and value is not None:
        return f"<{len(value)} bytes>"
    if column.kind == "ragged" and value is not None:
        return ragged_text(np.frombuffer(value, np.dtype(column.dtype).newbyteorder("<")).tolist())
    if column.kind != "categorical":
        return value
    return None if value == MISSING_ID else column.vocabulary[value - FIRST_ID] if value >= FIRST_ID else "<unknown>"


def ragged_text(numbers: list[Any]) -> str:
    """``[1, 2, 3, ... 9]``: the first numbers and the last one."""
    shown = [f"{number:g}" if isinstance(number, float) else str(number) for number in numbers]
    if len(shown) > _SHOWN + 1:
        shown = [*shown[:_SHOWN], f"... {shown[-1]}"]
    return f"[{', '.join(shown)}]"


def _column(manifest: Manifest, column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": column.kind, "dtype": column.dtype, "origin": column.origin}
    if column.kind == "tensor":
        return found | {"shape": list(column.shape)}
    by_split = {name: info.statistics[column.name] for name, info in manifest.splits.items()}
    found["nulls"] = {name: statistics.nulls for name, statistics in by_split.items()}
    found["missing"] = {name: found["nulls"][name] / info.rows for name, info in manifest.splits.items()}
    found |= _of_train(column, by_split[TRAIN])
    balances = {name: balance(column, info) for name, info in manifest.splits.items()}
    if balances[TRAIN] is not None:
        found["balance"] = balances
    return found


def _of_train(column: Column, statistics: Statistics) -> dict[str, Any]:
    if isinstance(statistics, CategoricalStatistics):
        return {"vocabulary": len(column.vocabulary)}
    if isinstance(statistics, LengthStatistics):
        names: tuple[str, ...] = ("mean_length", "max_length", "total_length")
    else:
        names = ("mean", "std", "minimum", "maximum", "infinite")
    return {name: getattr(statistics, name) for name in names}
