"""What a run's input columns are over all its sources: one description per input group.

A column that several sources have in a group of the same name is one input of the trunk, so its statistics and its
vocabulary are merged: every source is normalised and encoded alike. Labels belong to one source each: see
:mod:`distmtl.data.labels`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distmtl.data.labels import describe_label
from distmtl.data.manifest import TRAIN, CategoricalStatistics, Column, NumericStatistics
from distmtl.data.merge_statistics import merge_categorical, merge_numeric
from distmtl.data.source import Source
from distmtl.data.specs import SourceSpec
from distmtl.errors import ConfigError, SourceError
from distmtl.features import CategoricalColumn, InputGroup, NumericColumn, TensorColumn

__all__ = ["check_weight", "describe_inputs", "describe_label"]

Feature = NumericColumn | CategoricalColumn | TensorColumn


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
        ConfigError: A group mixes kinds, or two sources disagree on a column's kind or shape.
    """
    uses = [
        _Use(name, source, group, _input_column(name, source, group, column))
        for name, source in sources.items()
        for group, columns in _groups(specs[name]).items()
        for column in _distinct(name, group, columns)
    ]
    by_column: dict[tuple[str, str], list[_Use]] = {}
    for use in uses:
        _refuse_infinite(use.source, use.column)
        by_column.setdefault((use.group, use.column.name), []).append(use)
    merged = {key: _merge(shared) for key, shared in by_column.items()}
    for name, spec in specs.items():
        if name in sources and spec.weight is not None:
            check_weight(sources[name], spec.weight)
    return {
        name: tuple(
            _group(name, source, group, tuple(merged[group, column] for column in columns))
            for group, columns in _groups(specs[name]).items()
        )
        for name, source in sources.items()
    }


def _input_column(name: str, source: Source, group: str, column: str) -> Column:
    try:
        return source.column(column)
    except SourceError as error:
        raise SourceError(error.what, f"sources.{name}.inputs.{group}: {error.where}", error.remedy) from error


def check_weight(source: Source, column: str) -> None:
    """Refuse a weight column that is not of finite numbers from 0 up; a null weight is 0.

    Raises:
        SourceError: It is not.
    """
    if source.column(column).kind != "numeric":
        raise SourceError(f"weight column '{column}' is not numeric.", source.uri, "Name a numeric column.")
    _refuse_infinite(source, source.column(column))
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
    source: Source
    group: str
    column: Column


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


def _refuse_infinite(source: Source, column: Column) -> None:
    for split, info in source.manifest.splits.items():
        statistics = info.statistics.get(column.name)
        if isinstance(statistics, NumericStatistics) and statistics.infinite:
            raise SourceError(
                f"column '{column.name}' has {statistics.infinite} infinite values in split '{split}'.",
                source.uri,
                "Replace them before packing, or leave the column out.",
            )


def _merge(uses: Sequence[_Use]) -> Feature:
    first = uses[0]
    for use in uses[1:]:
        if _kind(use.column) != _kind(first.column):
            raise ConfigError(
                f"column '{first.column.name}' of group '{first.group}' is {_kind(first.column)} in source "
                f"'{first.source_name}' and {_kind(use.column)} in source '{use.source_name}'.",
                remedy="Pack it alike: see distmtl pack --categorical and --numeric.",
            )
    infos = [use.source.manifest.splits[TRAIN] for use in uses]
    found = [info.statistics.get(first.column.name) for info in infos]
    if first.column.kind == "numeric":
        numeric = [(info.rows, s) for info, s in zip(infos, found, strict=True) if isinstance(s, NumericStatistics)]
        return merge_numeric(first.column.name, numeric)
    if first.column.kind == "categorical":
        counts = [s.counts or () for s in found if isinstance(s, CategoricalStatistics)]
        vocabularies = [use.column.vocabulary for use in uses]
        return merge_categorical(first.column.name, list(zip(vocabularies, counts, strict=True)))
    return TensorColumn(first.column.name, first.column.dtype, first.column.shape)


def _kind(column: Column) -> str:
    return column.kind if column.kind != "tensor" else f"a {column.dtype} tensor {list(column.shape)}"


def _group(source_name: str, source: Source, group: str, features: tuple[Feature, ...]) -> InputGroup:
    where = f"sources.{source_name}.inputs.{group}"
    kinds = {source.column(feature.name).kind: feature.name for feature in features}
    if len(kinds) > 1:
        (kind, column), (other, other_column) = list(kinds.items())[:2]
        raise ConfigError(
            f"'{column}' is {kind} and '{other_column}' is {other}, but the columns of a group are of one kind.",
            where,
            "Put them in two groups, or pack the source again with --categorical or --numeric.",
        )
    if "tensor" in kinds and len(features) > 1:
        raise ConfigError(f"the group has {len(features)} tensor columns.", where, "Give each tensor its own group.")
    numeric = tuple(feature for feature in features if isinstance(feature, NumericColumn))
    categorical = tuple(feature for feature in features if isinstance(feature, CategoricalColumn))
    tensor = tuple(feature for feature in features if isinstance(feature, TensorColumn))
    return InputGroup(group, next(iter(kinds)), numeric or categorical or tensor)
