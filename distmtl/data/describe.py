"""What a run's input columns are over all its sources: one description per input group.

A column that several sources have in a group of the same name is one input of the trunk, so its statistics and its
vocabulary are merged: every source is normalised and encoded alike. Labels belong to one source each: see
:mod:`distmtl.data.labels`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from distmtl.data.infer import nearest
from distmtl.data.labels import describe_label
from distmtl.data.manifest import CategoricalStatistics, NumericStatistics
from distmtl.data.merge_statistics import merge_categorical, merge_numeric
from distmtl.data.source import Source
from distmtl.data.specs import SourceSpec
from distmtl.data.transforms.base import ColumnInfo
from distmtl.data.transforms.chain import Chain
from distmtl.data.transforms.infos import column_infos
from distmtl.errors import ConfigError, SourceError
from distmtl.features import CategoricalColumn, InputGroup, NumericColumn, SequenceColumn, TensorColumn

__all__ = ["check_weight", "describe_inputs", "describe_label"]

Feature = NumericColumn | CategoricalColumn | TensorColumn | SequenceColumn


_KINDS: Mapping[type, Literal["numeric", "categorical", "tensor", "sequence"]] = {
    NumericColumn: "numeric",
    CategoricalColumn: "categorical",
    TensorColumn: "tensor",
    SequenceColumn: "sequence",
}
_HELP = {
    "text": "Give the source a transform that reads it, such as tokenise or hash_words.",
    "bytes": "Give the source a transform that reads it, such as image.",
}


def describe_inputs(
    sources: Mapping[str, Source], specs: Mapping[str, SourceSpec]
) -> dict[str, tuple[InputGroup, ...]]:
    """The input groups of each source, statistics merged over the sources that share a column.

    Args:
        sources: The run's sources by name.
        specs: What the run file says of each.

    Returns:
        By source, its groups in the order of their names.

    Raises:
        SourceError: A column is missing, or its values cannot be used.
        ConfigError: A group mixes kinds, two sources disagree on a column's kind or shape, or a transform does not
            fit the columns before it.
        ResourceError: A package that a transform needs is not installed.
    """
    infos = {name: _columns(name, source, specs[name]) for name, source in sources.items()}
    uses = [
        _Use(name, group, column, _input_column(name, source, group, column, infos[name]))
        for name, source in sources.items()
        for group, columns in _groups(specs[name]).items()
        for column in _distinct(name, group, columns)
    ]
    by_column: dict[tuple[str, str], list[_Use]] = {}
    for use in uses:
        _refuse_infinite(sources[use.source_name], use.name)
        by_column.setdefault((use.group, use.name), []).append(use)
    merged = {key: _merge(shared) for key, shared in by_column.items()}
    for name, spec in specs.items():
        if name in sources and spec.weight is not None:
            check_weight(sources[name], spec.weight)
    return {
        name: tuple(
            _group(name, group, tuple(merged[group, column] for column in columns))
            for group, columns in _groups(specs[name]).items()
        )
        for name in sources
    }


def _columns(name: str, source: Source, spec: SourceSpec) -> dict[str, ColumnInfo]:
    """The columns of a source after its transforms."""
    return Chain(spec.transforms, column_infos(source), name).columns


def _input_column(name: str, source: Source, group: str, column: str, columns: Mapping[str, ColumnInfo]) -> ColumnInfo:
    where = f"sources.{name}.inputs.{group}"
    info = columns.get(column)
    if info is None:
        raise SourceError(f"there is no column '{column}'.", f"{where}: {source.uri}", nearest(column, columns))
    if info.kind in _HELP:
        raise ConfigError(f"'{column}' is {info.kind}, which no trunk reads as it is.", where, _HELP[info.kind])
    if info.kind == "numeric" and info.statistics is None:
        raise ConfigError(
            f"nothing is known of the numbers of '{column}', which a transform made.",
            where,
            "Let the transform describe them as a tensor of shape (1,).",
        )
    return info


def check_weight(source: Source, column: str) -> None:
    """Refuse a weight column that is not of finite numbers from 0 up; a null weight is 0.

    Raises:
        SourceError: It is not.
    """
    if source.column(column).kind != "numeric":
        raise SourceError(f"weight column '{column}' is not numeric.", source.uri, "Name a numeric column.")
    _refuse_infinite(source, column)
    for split, info in source.manifest.splits.items():
        statistics = info.statistics[column]
        if isinstance(statistics, NumericStatistics) and (statistics.minimum or 0) < 0:
            raise SourceError(
                f"weight column '{column}' holds {statistics.minimum} in split '{split}'.",
                source.uri,
                "Weights are 0 or more.",
            )


@dataclass(frozen=True)
class _Use:
    """A column of one source in one group."""

    source_name: str
    group: str
    name: str
    column: ColumnInfo


def _groups(spec: SourceSpec) -> dict[str, list[str]]:
    return {group: [columns] if isinstance(columns, str) else list(columns) for group, columns in spec.inputs.items()}


def _distinct(source: str, group: str, columns: Sequence[str]) -> Sequence[str]:
    where = f"sources.{source}.inputs.{group}"
    if not columns:
        raise ConfigError("the group has no columns.", where, "Name at least one, or remove the group.")
    for column in columns:
        if columns.count(column) > 1:
            raise ConfigError(f"column '{column}' is named twice.", where, "Name it once.")
    return columns


def _refuse_infinite(source: Source, column: str) -> None:
    for split, info in source.manifest.splits.items():
        statistics = info.statistics.get(column)
        if isinstance(statistics, NumericStatistics) and statistics.infinite:
            raise SourceError(
                f"column '{column}' has {statistics.infinite} infinite values in split '{split}'.",
                source.uri,
                "Replace them before packing, or leave the column out.",
            )


def _merge(uses: Sequence[_Use]) -> Feature:
    first = uses[0]
    for use in uses[1:]:
        if _kind(use.column) != _kind(first.column):
            raise ConfigError(
                f"column '{first.name}' of group '{first.group}' is {_kind(first.column)} in source "
                f"'{first.source_name}' and {_kind(use.column)} in source '{use.source_name}'.",
                remedy="Pack it alike (see distmtl pack --categorical and --numeric), or transform it alike.",
            )
    columns = [use.column for use in uses]
    info = columns[0]
    if info.kind == "numeric":
        numeric = [(c.rows, c.statistics) for c in columns if isinstance(c.statistics, NumericStatistics)]
        return merge_numeric(first.name, numeric)
    if info.kind == "categorical":
        return merge_categorical(first.name, [(c.vocabulary, _counts(c)) for c in columns])
    if info.kind == "ragged":
        lengths = [c.max_length for c in columns if c.max_length is not None]
        longest = max(lengths) if len(lengths) == len(columns) else None
        return SequenceColumn(first.name, _sequence_dtype(info), info.pad, longest, info.size)
    return TensorColumn(first.name, info.dtype, info.shape)


def _counts(column: ColumnInfo) -> tuple[int, ...]:
    """Train rows of each word; zeros where a transform made the column."""
    statistics = column.statistics
    counts = statistics.counts if isinstance(statistics, CategoricalStatistics) else None
    return counts or (0,) * len(column.vocabulary)


def _sequence_dtype(column: ColumnInfo) -> Literal["int64", "float32"]:
    return "float32" if column.dtype.startswith("float") else "int64"


def _kind(column: ColumnInfo) -> str:
    if column.kind == "tensor":
        return f"a {column.dtype} tensor {list(column.shape)}"
    if column.kind == "ragged":
        ids = "" if column.size is None else f" of {column.size} ids"
        return f"a {_sequence_dtype(column)} sequence{ids} padded with {column.pad:g}"
    return column.kind


def _group(source_name: str, group: str, features: tuple[Feature, ...]) -> InputGroup:
    where = f"sources.{source_name}.inputs.{group}"
    kinds = {_KINDS[type(feature)]: feature.name for feature in features}
    if len(kinds) > 1:
        (kind, column), (other, other_column) = list(kinds.items())[:2]
        raise ConfigError(
            f"'{column}' is {kind} and '{other_column}' is {other}, but the columns of a group are of one kind.",
            where,
            "Put them in two groups, or pack the source again with --categorical or --numeric.",
        )
    kind = next(iter(kinds))
    if kind in ("tensor", "sequence") and len(features) > 1:
        raise ConfigError(f"the group has {len(features)} {kind} columns.", where, f"Give each {kind} its own group.")
    return InputGroup(group, kind, features)  # type: ignore[arg-type]  # all are of the kind's class
