"""From a source's gathered columns to its input groups: the chain, then the groups. NumPy alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.transforms.base import ColumnInfo, ColumnValues
from distmtl.data.transforms.chain import Chain
from distmtl.data.transforms.keys import Keys
from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.specs import TransformSpec
from distmtl.data.vocabulary import run_ids
from distmtl.features import CategoricalColumn, InputGroup, NumericColumn, SequenceColumn, TensorColumn

Column = NumericColumn | CategoricalColumn | TensorColumn | SequenceColumn

Groups = dict[str, npt.NDArray[Any]]
"""Input groups by name, as :class:`distmtl.features.InputGroup` says, as writable NumPy arrays."""


@dataclass(frozen=True)
class Recipe:
    """All that a process needs to make a source's input groups; it can be pickled.

    Attributes:
        source: The source's name.
        transforms: Its transforms, in order.
        columns: Its columns.
        groups: Its input groups.
        floats: NumPy name of the run's numbers: float32 or float64.
    """

    source: str
    transforms: tuple[TransformSpec, ...]
    columns: Mapping[str, ColumnInfo]
    groups: tuple[InputGroup, ...]
    floats: str


class Rows:
    """Makes the input groups of a source's rows.

    Args:
        recipe: How.

    Raises:
        ConfigError: The transforms do not fit the columns.
        ResourceError: A package that one needs is not installed.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._groups = recipe.groups
        self._floats = np.dtype(recipe.floats)
        self._columns = recipe.columns
        self._chain = Chain(recipe.transforms, recipe.columns, recipe.source)
        self._ids = {
            (group.name, column.name): run_ids(self._chain.columns[column.name].vocabulary, column)
            for group in recipe.groups
            for column in group.columns
            if isinstance(column, CategoricalColumn)
        }

    @property
    def reads(self) -> list[str]:
        """Names of the source's columns that it needs."""
        return self._chain.reads([column.name for group in self._groups for column in group.columns])

    def __call__(self, columns: Mapping[str, ColumnValues], keys: Keys | None, rows: int) -> Groups:
        """The input groups of some rows.

        Args:
            columns: The columns that :attr:`reads` names; ragged ones as a source stores them, as binary.
            keys: A key per row ``[N]``, or None in evaluation.
            rows: Number of rows N.

        Raises:
            RowFailure: A transform failed.
        """
        if not rows:
            return self.empty()
        values = {name: self._opened(name, column) for name, column in columns.items()}
        made = self._chain.apply(values, keys, rows)
        return {group.name: self._group(group, made) for group in self._groups}

    def empty(self) -> Groups:
        """The input groups of no rows."""
        return {group.name: self._no_rows(group) for group in self._groups}

    def _opened(self, name: str, column: ColumnValues) -> ColumnValues:
        info = self._columns[name]
        return Ragged.from_binary(column, info.dtype) if info.kind == "ragged" else column

    def _group(self, group: InputGroup, made: Mapping[str, ColumnValues]) -> npt.NDArray[Any]:
        columns: Sequence[Column] = group.columns
        values: Sequence[Any] = [made[column.name] for column in columns]
        first = columns[0]
        if isinstance(first, SequenceColumn):
            ragged: Ragged = values[0]
            return ragged.padded(first.pad, self._number(first))
        if isinstance(first, TensorColumn):
            return np.require(values[0], requirements=["C", "W"])
        if isinstance(first, CategoricalColumn):
            ids = [self._ids[group.name, column.name][v] for column, v in zip(columns, values, strict=True)]
            return np.stack(ids, axis=1)
        with np.errstate(over="ignore"):  # float64 beyond the range of float32 is infinite there
            return np.stack(values, axis=1).astype(self._floats)

    def _no_rows(self, group: InputGroup) -> npt.NDArray[Any]:
        first = group.columns[0]
        if isinstance(first, SequenceColumn):
            return np.empty((0, 1), self._number(first))
        if isinstance(first, TensorColumn):
            return np.empty((0, *first.shape), first.dtype)
        dtype = np.dtype(np.int64) if isinstance(first, CategoricalColumn) else self._floats
        return np.empty((0, len(group.columns)), dtype)

    def _number(self, column: SequenceColumn) -> np.dtype[Any]:
        return np.dtype(np.int64) if column.dtype == "int64" else self._floats
