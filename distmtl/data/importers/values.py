"""Rows as Python dicts: their columns, the types of these over all rows, and Arrow batches of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distmtl.data.importers.base import BATCH_BYTES, BATCH_ROWS, check_names, cut
from distmtl.data.importers.unify import describe, kind_of, unify
from distmtl.errors import SourceError

Row = tuple[str, Mapping[str, Any]]
"""A row, and what it is called in messages, such as "row 17"."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dicts in a dict as keys ``a.b``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


class Kinds:
    """Finds the columns of rows, in order of appearance, and their types.

    Args:
        path: What the input is called in messages.
        drop: Columns that come out as nulls.
    """

    def __init__(self, path: str, drop: Sequence[str] = ()) -> None:
        self._path = path
        self._drop = drop
        self._kinds: dict[str, pa.DataType] = {}

    def name(self, column: str, kind: pa.DataType) -> None:
        """Say of a column that it is there and of one type, whatever its values look like."""
        self._kinds[column] = pa.null() if column in self._drop else kind

    def see(self, rows: Sequence[Row]) -> None:
        """Take in the values of some rows.

        Raises:
            SourceError: Values of a column have no type in common, or one that Arrow does not have.
        """
        names = dict.fromkeys(name for _, values in rows for name in values)
        for name in names:
            before = self._kinds.get(name, pa.null())
            self._kinds[name] = pa.null() if name in self._drop else self._kind(name, before, rows)

    def schema(self) -> pa.Schema:
        """The columns.

        Raises:
            SourceError: A name is empty, or a column holds dicts in some rows and values in others.
        """
        kinds = dict(self._kinds)
        for name in [name for name in kinds if any(other.startswith(f"{name}.") for other in kinds)]:
            # A null where other rows have a dict.
            if not pa.types.is_null(kinds[name]):
                what = f"'{name}' is {describe(kinds[name])} in some rows and a dict in others."
                raise SourceError(what, self._path, f"Give it one form, or use --drop {name}.")
            del kinds[name]
        return check_names(self._path, pa.schema(list(kinds.items())))

    def _kind(self, name: str, before: pa.DataType, rows: Sequence[Row]) -> pa.DataType:
        values = [row.get(name) for _, row in rows]
        try:
            kind = unify(before, to_arrow(values).type)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            kind = None
        return self._row_by_row(name, before, rows) if kind is None else kind

    def _row_by_row(self, name: str, before: pa.DataType, rows: Sequence[Row]) -> pa.DataType:
        """Unify what Arrow cannot at once, or name the row that does not go with those before."""
        for where, row in rows:
            remedy = f"Give it one type, or use --drop {name}."
            value = row.get(name)
            try:
                kind = to_arrow([value]).type if isinstance(value, np.ndarray) else kind_of(value)
            except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
                what = f"{where}: '{name}' is of type {type(value).__name__}, which cannot be packed: {error}"
                raise SourceError(f"{what.splitlines()[0].rstrip('.')}.", self._path, remedy) from error
            both = None if kind is None else unify(before, kind)
            if both is None and kind is None:
                raise SourceError(f"{where}: the elements of '{name}' differ in type.", self._path, remedy)
            if both is None:
                what = f"{where}: '{name}' is {describe(kind)}, but {describe(before)} in a row before."
                raise SourceError(what, self._path, remedy)
            before = both
        return before


def to_arrow(values: Sequence[Any], kind: pa.DataType | None = None) -> Any:
    """Python values as an Arrow array; NumPy arrays of any number of axes are nested lists.

    Raises:
        ArrowException: They have no type in common, or are not of ``kind``.
    """
    arrays = [np.asarray(value) if _is_array(value) else value for value in values]
    ndims = {array.ndim if isinstance(array, np.ndarray) else -1 for array in arrays if array is not None}
    if len(ndims) == 1 and min(ndims) > 0:
        nested = _nested(arrays, min(ndims))
        return nested if kind is None else nested.cast(kind)
    # Arrow takes arrays of one axis only.
    plain = [array.tolist() if isinstance(array, np.ndarray) else array for array in arrays]
    return pa.array(plain, kind)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _nested(arrays: Sequence[npt.NDArray[Any] | None], ndim: int) -> Any:
    """Arrays of ``ndim`` axes, or None, as lists of lists of numbers in row-major order."""
    present = [array for array in arrays if array is not None]
    inner = pa.array(np.concatenate([array.ravel() for array in present]))
    for axis in range(ndim - 1, 0, -1):
        lengths = [np.full(int(np.prod(array.shape[:axis])), array.shape[axis]) for array in present]
        inner = pa.ListArray.from_arrays(_offsets(np.concatenate(lengths)), inner)
    outer = _offsets(np.array([0 if array is None else len(array) for array in arrays]))
    return pa.ListArray.from_arrays(outer, inner, mask=pa.array([array is None for array in arrays]))


def _offsets(lengths: npt.NDArray[Any]) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def in_groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in groups of about a batch each."""
    group: list[Row] = []
    size = 0
    for row in rows:
        width = sum(_size(value) for value in row[1].values())
        if group and (size + width > BATCH_BYTES or len(group) >= BATCH_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += width
    if group:
        yield group


def _size(value: Any) -> int:
    if isinstance(value, (bytes, str)):
        return len(value) + 8
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return int(getattr(value, "nbytes", 8))


def to_batches(path: str, rows: Iterable[Row], schema: pa.Schema, drop: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Rows as batches of a schema; what a row lacks is null.

    Raises:
        SourceError: A value is not of its column's type.
    """
    for group in in_groups(rows):
        columns = []
        for field in schema:
            values = [None if field.name in drop else row.get(field.name) for _, row in group]
            try:
                columns.append(to_arrow(values, field.type))
            except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
                what = f"{group[0][0]} to {group[-1][0]}: '{field.name}' is not of type {field.type}: {error}"
                remedy = f"Give it one type, or use --drop {field.name}."
                raise SourceError(f"{what.splitlines()[0].rstrip('.')}.", path, remedy) from error
        yield from cut(pa.RecordBatch.from_arrays(columns, schema=schema))
