"""What a transform is, and what it sees: columns of rows, and a key per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from distmtl.data.manifest import CategoricalStatistics, NumericStatistics

InfoKind = Literal["numeric", "categorical", "tensor", "text", "bytes", "ragged"]

ColumnValues = Any
"""The values of a column over N rows, by its kind: see :class:`ColumnInfo`."""


@dataclass(frozen=True)
class ColumnInfo:
    """What a column is, before any row is seen.

    Attributes:
        kind: What its values are over N rows: ``numeric`` an array ``[N]`` float64 with NaN for null; ``categorical``
            an array ``[N]`` int32 of ids of ``vocabulary`` (see :mod:`distmtl.features`); ``tensor`` an array
            ``[N, *shape]``; ``text`` a ``pyarrow.StringArray`` and ``bytes`` a ``pyarrow.BinaryArray``, with nulls;
            ``ragged`` a :class:`~distmtl.data.transforms.ragged.Ragged`.
        dtype: NumPy name of one number of a ``tensor`` or ``ragged``.
        shape: Shape of one row of a ``tensor``.
        vocabulary: Words of a ``categorical``.
        statistics: Of a ``numeric`` or ``categorical`` over the train split; None where nothing is known.
        rows: Train rows that the statistics are over.
        pad: What fills up the rows of a ``ragged`` to the longest.
        max_length: Most numbers in a row of a ``ragged``, or None.
        size: Number of ids of a ``ragged`` of ids, or None.
    """

    kind: InfoKind
    dtype: str = ""
    shape: tuple[int, ...] = ()
    vocabulary: tuple[str, ...] = ()
    statistics: NumericStatistics | CategoricalStatistics | None = None
    rows: int = 0
    pad: float = 0
    max_length: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class RowBatch:
    """N rows, as a transform sees them.

    Attributes:
        columns: Values by column name, those of the transform's ``reads`` at least.
        keys: A key per row ``[N]``, which depends on the seed, the source, the pass and the row alone; draw from it
            with :func:`distmtl.data.transforms.keys.uniform`. None in evaluation: random transforms then take their
            deterministic form.
    """

    columns: Mapping[str, ColumnValues]
    keys: npt.NDArray[np.uint64] | None


class Transform(Protocol):
    """Makes columns of rows from columns of the same rows. It keeps no state: any process may see any rows."""

    @property
    def reads(self) -> Sequence[str]:
        """Names of the columns that it needs."""
        ...

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """What the columns are that it makes or changes.

        Args:
            columns: All columns before it.

        Raises:
            ConfigError: It does not fit them.
        """
        ...

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The columns that it makes or changes, as :meth:`describe` said; row i is made from row i alone."""
        ...
