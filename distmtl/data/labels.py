"""What a label column is for a task: its classes and counts, or why it cannot be one."""

from typing import Literal

from distmtl.data.manifest import VALUES_LIMIT, CategoricalStatistics, NumericStatistics
from distmtl.data.source import Split
from distmtl.errors import SourceError
from distmtl.features import LabelInfo

LabelKind = Literal["binary", "multiclass", "regression"]


def describe_label(split: Split, column: str, kind: LabelKind) -> LabelInfo:
    """Describe a label column over the rows of a split, as a rule ``train``.

    String columns have their sorted values as classes. Numeric columns of a binary task hold 0 and 1, those of a
    multiclass task 0 to C - 1. A label of another split that train does not know counts as null: see
    :func:`unknown_labels`.

    Args:
        split: The split whose statistics the loss will use.
        column: The target column.
        kind: Kind of the task.

    Raises:
        SourceError: The column is missing, has no label in train, or its values do not fit the kind.
    """
    source = split.source
    found = source.column(column)
    statistics = split.info.statistics.get(column)
    if isinstance(statistics, CategoricalStatistics):
        return _names(split, column, kind, statistics, found.vocabulary)
    if not isinstance(statistics, NumericStatistics):
        raise SourceError(f"target '{column}' is a tensor.", source.uri, "Name a numeric or categorical column.")
    for name, info in source.manifest.splits.items():
        other = info.statistics[column]
        if isinstance(other, NumericStatistics) and other.infinite:
            raise SourceError(
                f"target '{column}' has {other.infinite} infinite values in split '{name}'.",
                source.uri,
                "Replace them before packing.",
            )
    if statistics.mean is None:
        raise _no_label(split, column)
    counts = None if kind == "regression" else _class_counts(split, column, kind, statistics)
    return LabelInfo(
        column=column,
        valid=split.rows - statistics.nulls,
        nulls=statistics.nulls,
        mean=statistics.mean,
        std=statistics.std or 0.0,
        minimum=float(statistics.minimum or 0.0),
        maximum=float(statistics.maximum or 0.0),
        classes=None,
        class_counts=counts,
    )


def unknown_labels(split: Split, label: LabelInfo) -> int:
    """Rows of a split whose label is not null but is no class of the train split, so that they count as null.

    Args:
        split: The split.
        label: The label as described over train.
    """
    statistics = split.info.statistics[label.column]
    if isinstance(statistics, CategoricalStatistics):
        return statistics.unknown
    if label.class_counts is None or not isinstance(statistics, NumericStatistics):
        return 0
    filled = split.rows - statistics.nulls
    known = set(range(len(label.class_counts)))
    pairs = zip(statistics.values or (), statistics.counts or (), strict=True)
    return filled - sum(count for value, count in pairs if value in known)


def _names(
    split: Split, column: str, kind: LabelKind, statistics: CategoricalStatistics, classes: tuple[str, ...]
) -> LabelInfo:
    where = split.source.uri
    if kind == "regression":
        raise SourceError(
            f"target '{column}' holds strings, which a regression cannot predict.",
            where,
            f"Use kind: multiclass, or pack the source again with --numeric {column}.",
        )
    if not classes:
        raise _no_label(split, column)
    if len(classes) < 2 or (kind == "binary" and len(classes) > 2):
        shown = ", ".join(repr(word) for word in classes[:5]) + (", ..." if len(classes) > 5 else "")
        raise SourceError(
            f"target '{column}' of a {kind} task has {len(classes)} distinct values in train: {shown}.",
            where,
            "Use kind: multiclass." if len(classes) > 2 else "A label needs at least two classes.",
        )
    counts = statistics.counts or (0,) * len(classes)
    valid = sum(counts)
    mean = sum(i * count for i, count in enumerate(counts)) / max(1, valid)
    variance = sum((i - mean) ** 2 * count for i, count in enumerate(counts)) / max(1, valid)
    return LabelInfo(
        column=column,
        valid=valid,
        nulls=split.rows - valid,
        mean=mean,
        std=variance**0.5,
        minimum=0.0,
        maximum=float(len(classes) - 1),
        classes=classes,
        class_counts=counts,
    )


def _class_counts(split: Split, column: str, kind: LabelKind, statistics: NumericStatistics) -> tuple[int, ...]:
    """Rows of each class 0 to C - 1 of a numeric label."""
    where = split.source.uri
    if statistics.values is None or statistics.counts is None:
        raise SourceError(
            f"target '{column}' of a {kind} task has more than {VALUES_LIMIT} distinct values in train.",
            where,
            f"Use kind: regression, or pack the source again with --categorical {column}.",
        )
    expected = "0 or 1" if kind == "binary" else "integers from 0"
    for value in statistics.values:
        if value < 0 or value != int(value) or (kind == "binary" and value > 1):
            raise SourceError(
                f"label out of range: target '{column}' holds {value:g}, but labels of a {kind} task are {expected}.",
                where,
                f"Pack the source again with --categorical {column}, or use another kind.",
            )
    counts = dict(zip(map(int, statistics.values), statistics.counts, strict=True))
    classes = 2 if kind == "binary" else max(counts) + 1
    _refuse_sparse(split, column, kind, counts, classes)
    return tuple(counts.get(label, 0) for label in range(classes))


def _refuse_sparse(split: Split, column: str, kind: LabelKind, counts: dict[int, int], classes: int) -> None:
    if len(counts) < 2:
        raise SourceError(
            f"target '{column}' of a {kind} task holds only {next(iter(counts))} in train.",
            split.source.uri,
            "A label needs at least two classes.",
        )
    if classes > max(4 * len(counts), VALUES_LIMIT):
        raise SourceError(
            f"label out of range: target '{column}' holds {classes - 1}, with {len(counts)} distinct values in train.",
            split.source.uri,
            f"Pack the source again with --categorical {column}, which numbers its values from 0.",
        )


def _no_label(split: Split, column: str) -> SourceError:
    return SourceError(
        f"target '{column}' has no label in split '{split.name}': all {split.rows} rows are null.",
        split.source.uri,
        "Name another target, or pack rows that have it.",
    )
