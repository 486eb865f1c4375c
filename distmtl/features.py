"""What the columns of a run are: the one description that data, tasks and models share.

Data builds these from manifests, models read them to size their layers, checkpoints keep them as JSON, and a
model restored elsewhere needs nothing else to understand its inputs. NumPy only.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

MISSING_ID = 0
"""The id of a categorical value that is null."""
UNKNOWN_ID = 1
"""The id of a categorical value that the vocabulary does not hold."""
FIRST_ID = 2
"""The id of the first word of a vocabulary."""


@dataclass(frozen=True)
class NumericColumn:
    """Statistics of a numeric input over the non-null rows of the train split.

    ``quantiles`` are ascending and cut the train rows into equal shares; repeated values are kept. ``values`` are the
    distinct values, ascending, and ``counts`` the rows that have each; both are empty where there are too many to keep.
    """

    name: str
    mean: float
    std: float
    minimum: float
    maximum: float
    null_share: float
    quantiles: tuple[float, ...]
    values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class CategoricalColumn:
    """A categorical input; value ``vocabulary[i]`` has id ``FIRST_ID + i``."""

    name: str
    vocabulary: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def ids(self) -> int:
        """Number of ids, those of missing and unknown values included."""
        return FIRST_ID + len(self.vocabulary)


@dataclass(frozen=True)
class TensorColumn:
    """An input of one fixed shape per row, such as an image or an embedding."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SequenceColumn:
    """An input whose rows differ in length, such as the ids of a text's tokens.

    ``dtype`` is int64, or float32 (float64 under fp64). ``pad`` fills rows up to the longest of the batch. A row has
    at most ``max_length`` numbers; None: no bound is known. ``size`` is the number of ids, all from 0 to ``size - 1``;
    None: the numbers are no ids.
    """

    name: str
    dtype: Literal["int64", "float32"]
    pad: float = 0
    max_length: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class InputGroup:
    """One named input of the trunk.

    Its tensor in a batch is ``[N, columns]`` float32 with NaN for null (``numeric``), ``[N, columns]`` int64 ids
    (``categorical``), ``[N, *shape]`` of the column's own dtype (``tensor``, one column) or ``[N, T]`` (``sequence``,
    one column), where T is 1 at least and differs from batch to batch and from worker to worker: mask what is padding.
    """

    name: str
    kind: Literal["numeric", "categorical", "tensor", "sequence"]
    columns: (
        tuple[NumericColumn, ...]
        | tuple[CategoricalColumn, ...]
        | tuple[TensorColumn, ...]
        | tuple[SequenceColumn, ...]
    )


@dataclass(frozen=True)
class LabelInfo:
    """What a task's target looks like over the train split.

    ``classes`` are the sorted class names of a string column, or None. A batch holds the class index for them
    (int64, -1 for null); numeric targets are float32 (float64 under fp64) with NaN for null.
    ``class_counts`` is None for a continuous target.
    """

    column: str
    valid: int
    nulls: int
    mean: float
    std: float
    minimum: float
    maximum: float
    classes: tuple[str, ...] | None
    class_counts: tuple[int, ...] | None


_COLUMNS = {
    "numeric": NumericColumn,
    "categorical": CategoricalColumn,
    "tensor": TensorColumn,
    "sequence": SequenceColumn,
}


def sequence_pads(groups: Iterable[InputGroup]) -> dict[str, float]:
    """What fills up the rows of each sequence group, by its name."""
    columns = {group.name: group.columns[0] for group in groups}
    return {name: column.pad for name, column in columns.items() if isinstance(column, SequenceColumn)}


def input_group_to_json(group: InputGroup) -> dict[str, Any]:
    """Plain JSON of a group; tuples become lists."""
    return asdict(group)


def input_group_from_json(value: dict[str, Any]) -> InputGroup:
    """The group that :func:`input_group_to_json` wrote."""
    column = _COLUMNS[value["kind"]]
    columns = tuple(column(**{k: _tuple(v) for k, v in item.items()}) for item in value["columns"])
    return InputGroup(value["name"], value["kind"], columns)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
