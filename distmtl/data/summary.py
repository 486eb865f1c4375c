"""A source in a few words for people and scripts: plain JSON values, and some of its rows."""

from typing import Any

from distmtl.data.manifest import (
    TRAIN,
    CategoricalStatistics,
    Column,
    Manifest,
    NumericStatistics,
    SplitInfo,
    Statistics,
)
from distmtl.data.source import Source
from distmtl.features import FIRST_ID, MISSING_ID

FEW_VALUES = 20
"""A column with at most this many values may be a label: its balance is shown."""


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


def sample_rows(source: Source, split: str, rows: int) -> list[dict[str, Any]]:
    """The first rows of a split as they were before packing; a tensor is named by its type and shape.

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
        found += table.to_pylist()
    return [{column.name: _value(column, row.get(column.name)) for column in source.manifest.columns} for row in found]


def kind_text(column: Column) -> str:
    """A column's kind as people read it."""
    return column.kind if column.kind != "tensor" else f"tensor {column.dtype} {list(column.shape)}"


def _value(column: Column, value: Any) -> Any:
    if column.kind == "tensor":
        return f"<{column.dtype} {list(column.shape)}>"
    if column.kind == "numeric":
        return value
    return None if value == MISSING_ID else column.vocabulary[value - FIRST_ID] if value >= FIRST_ID else "<unknown>"


def _column(manifest: Manifest, column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": column.kind, "dtype": column.dtype, "origin": column.origin}
    if column.kind == "tensor":
        return found | {"shape": list(column.shape)}
    by_split = {name: info.statistics[column.name] for name, info in manifest.splits.items()}
    found["nulls"] = {name: statistics.nulls for name, statistics in by_split.items()}
    found |= _of_train(column, by_split[TRAIN])
    balances = {name: balance(column, info) for name, info in manifest.splits.items()}
    if balances[TRAIN] is not None:
        found["balance"] = balances
    return found


def _of_train(column: Column, statistics: Statistics) -> dict[str, Any]:
    if isinstance(statistics, CategoricalStatistics):
        return {"vocabulary": len(column.vocabulary)}
    names = ("mean", "std", "minimum", "maximum", "infinite")
    return {name: getattr(statistics, name) for name in names}
