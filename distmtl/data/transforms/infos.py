"""What a source's columns are before any transform."""

from distmtl.data.manifest import TRAIN, CategoricalStatistics, LengthStatistics, NumericStatistics
from distmtl.data.source import Source
from distmtl.data.transforms.base import ColumnInfo


def column_infos(source: Source) -> dict[str, ColumnInfo]:
    """The columns of a source by name, with the statistics of its train split."""
    train = source.manifest.splits[TRAIN]
    infos = {}
    for column in source.manifest.columns:
        statistics = train.statistics.get(column.name)
        infos[column.name] = ColumnInfo(
            column.kind,
            dtype=column.dtype,
            shape=column.shape,
            vocabulary=column.vocabulary,
            statistics=statistics if isinstance(statistics, NumericStatistics | CategoricalStatistics) else None,
            rows=train.rows,
            max_length=_longest(source, column.name) if column.kind == "ragged" else None,
        )
    return infos


def _longest(source: Source, column: str) -> int:
    """Most numbers in a row of any split."""
    found = [split.statistics.get(column) for split in source.manifest.splits.values()]
    return max((s.max_length for s in found if isinstance(s, LengthStatistics)), default=0)
