"""A source's transforms, one after the other, and which row to blame where one fails."""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distmtl.data.transforms.base import ColumnInfo, ColumnValues, RowBatch, Transform
from distmtl.data.transforms.build import build_transform
from distmtl.data.transforms.keys import Keys, keys_of
from distmtl.data.transforms.specs import TransformSpec
from distmtl.errors import ConfigError, DistmtlError, InputError
from distmtl.spec import CustomSpec


class RowFailure(Exception):
    """A transform failed on some rows.

    Attributes:
        transform: Which: its number and its kind.
        row: The first row that it fails on, counted from the batch's first; None if no single row is to blame.
        what: What it said.
        source: The source of the rows.
    """

    def __init__(self, transform: str, row: int | None, what: str, source: str = "") -> None:
        super().__init__(transform, row, what, source)
        self.transform, self.row, self.what, self.source = transform, row, what, source


@dataclass(frozen=True)
class _Link:
    name: str
    transform: Transform
    made: Mapping[str, ColumnInfo]


class Chain:
    """The transforms of a source.

    Args:
        specs: Them, in order.
        columns: The columns of the source.
        source: Name of the source, for errors.

    Attributes:
        columns: What the columns are after the last.

    Raises:
        ConfigError: A transform does not fit the columns before it.
        ResourceError: A package that one needs is not installed.
    """

    def __init__(self, specs: Sequence[TransformSpec], columns: Mapping[str, ColumnInfo], source: str) -> None:
        self.columns = dict(columns)
        self._source = source
        self._links: list[_Link] = []
        for number, spec in enumerate(specs):
            transform, made = _link(spec, self.columns, f"sources.{source}.transforms.{number}")
            self.columns |= made
            name = spec.target if isinstance(spec, CustomSpec) else spec.kind
            self._links.append(_Link(f"{number} ('{name}')", transform, made))

    def reads(self, wanted: Iterable[str]) -> list[str]:
        """Columns of the source that the transforms need to make the ``wanted`` ones."""
        needed = set(wanted)
        for link in reversed(self._links):
            needed = (needed - set(link.made)) | set(link.transform.reads)
        return sorted(needed)

    def apply(self, columns: Mapping[str, ColumnValues], keys: Keys | None, rows: int) -> dict[str, ColumnValues]:
        """All columns after the last transform.

        Args:
            columns: Those that :meth:`reads` named.
            keys: See :class:`~distmtl.data.transforms.base.RowBatch`.
            rows: Number of rows N.

        Raises:
            RowFailure: A transform raised an error, or gave something else than it had described.
        """
        values = dict(columns)
        for number, link in enumerate(self._links):
            own = None if keys is None else keys_of(keys, number)
            seen = {name: values[name] for name in link.transform.reads}
            try:
                values |= _made(link, RowBatch(seen, own), rows)
            except Exception as error:  # the user's own code may fail in any way
                raise self._failure(link, RowBatch(seen, own), rows, error) from error
        return values

    def _failure(self, link: _Link, batch: RowBatch, rows: int, error: Exception) -> RowFailure:
        """The failure, and the first row that fails by itself, found by halving."""

        def fails(start: int, stop: int) -> Exception | None:
            part = {name: values[start:stop] for name, values in batch.columns.items()}
            keys = None if batch.keys is None else batch.keys[start:stop]
            try:
                _made(link, RowBatch(part, keys), stop - start)
            except Exception as found:
                return found
            return None

        row, found = first_failing(fails, rows, error)
        return RowFailure(link.name, row, _said(found), self._source)


def _link(
    spec: TransformSpec, columns: Mapping[str, ColumnInfo], where: str
) -> tuple[Transform, dict[str, ColumnInfo]]:
    try:
        transform = build_transform(spec, columns)
        made = dict(transform.describe(dict(columns)))
    except InputError as error:
        raise type(error)(error.what, f"{where}: {error.where}".rstrip(": "), error.remedy) from error
    except Exception as error:  # the user's own code may fail in any way
        raise ConfigError(f"'describe' failed: {_said(error)}.", where) from error
    for name in transform.reads:
        if name not in columns:
            raise ConfigError(f"it reads column '{name}', which there is not.", where, "See 'reads' of the transform.")
    return transform, made


def _made(link: _Link, batch: RowBatch, rows: int) -> dict[str, ColumnValues]:
    made = link.transform.apply(batch)
    if set(made) != set(link.made):
        raise ValueError(f"it gave the columns {sorted(made)} and had described {sorted(link.made)}")
    for name, info in link.made.items():
        _require_described(name, info, made[name], rows)
    return made


def _require_described(name: str, info: ColumnInfo, values: Any, rows: int) -> None:
    """Refuse values that are not what was described: the trunk was built for that."""
    if info.kind == "ragged":
        wanted: Any = ("Ragged", rows, info.dtype)
        found: Any = (type(values).__name__, len(values), str(getattr(getattr(values, "values", None), "dtype", "")))
    elif info.kind in ("text", "bytes"):
        wanted, found = rows, len(values)
    else:
        dtype = {"numeric": "float64", "categorical": "int32"}.get(info.kind, info.dtype)
        wanted = ((rows, *info.shape), dtype)
        found = (tuple(np.shape(values)), str(getattr(values, "dtype", type(values).__name__)))
    if wanted != found:
        raise ValueError(f"column '{name}' is {found}, not {wanted}")


def first_failing(
    fails: Callable[[int, int], Exception | None], rows: int, error: Exception
) -> tuple[int | None, Exception]:
    """The first row that fails by itself, and its error; None where only several rows together fail.

    Args:
        fails: The error of the rows ``start..stop`` alone, or None.
        rows: Number of rows, which fail together.
        error: Their error.
    """
    start, stop = 0, rows
    while stop - start > 1:
        middle = (start + stop) // 2
        if (found := fails(start, middle)) is not None:
            stop = middle
        elif (found := fails(middle, stop)) is not None:
            start = middle
        else:
            return None, error
        error = found
    return start, error


def _said(error: BaseException) -> str:
    """An error in one line, with the place where a foreign one was raised."""
    if isinstance(error, DistmtlError):
        return str(error).rstrip(".")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}{place}"
