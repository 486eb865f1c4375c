"""Transforms of numbers: standardising, and rows of differing length."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.manifest import NumericStatistics
from distmtl.data.transforms.base import ColumnInfo, ColumnValues, RowBatch
from distmtl.data.transforms.columns import require
from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.specs import SequenceSpec, StandardiseSpec
from distmtl.errors import ConfigError

Numbers = float | tuple[float, ...]


class Standardise:
    """See :class:`~distmtl.data.transforms.specs.StandardiseSpec`.

    Args:
        spec: The hyperparameters.
        columns: All columns before it: the statistics of those that it changes become part of it.
    """

    def __init__(self, spec: StandardiseSpec, columns: Mapping[str, ColumnInfo]) -> None:
        self._spec = spec
        self.reads: Sequence[str] = spec.columns
        self._moments = {name: _moments(spec, name, require(columns, name, "numeric", "tensor")) for name in self.reads}

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """The same columns; a tensor's numbers are float32."""
        described = {}
        for name, (mean, std) in self._moments.items():
            info = columns[name]
            if info.kind == "tensor":
                described[name] = replace(info, dtype="float32")
            else:
                described[name] = replace(info, statistics=_moved(info.statistics, float(mean), float(std)))
        return described

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """Numbers as they were said to be: float64 ``[N]``, or float32 ``[N, *shape]``."""
        changed = {}
        for name, (mean, std) in self._moments.items():
            values = rows.columns[name]
            if values.ndim == 1 and values.dtype == np.float64:
                changed[name] = (values - mean) / std
            else:
                changed[name] = ((values.astype(np.float32) - mean) / std).astype(np.float32)
        return changed


def _moments(spec: StandardiseSpec, name: str, info: ColumnInfo) -> tuple[Any, Any]:
    """Mean and deviation, in a shape that broadcasts with the column's values."""
    if info.kind == "tensor":
        if spec.mean is None or spec.std is None:
            raise ConfigError(
                f"'{name}' is a tensor, of which a source keeps no mean.", remedy="Give 'mean' and 'std'."
            )
        return per_channel(spec.mean, info.shape), per_channel(_positive(spec.std), info.shape)
    found = info.statistics if isinstance(info.statistics, NumericStatistics) else None
    if found is None and (spec.mean is None or spec.std is None):
        raise ConfigError(f"nothing is known of the values of '{name}'.", remedy="Give 'mean' and 'std'.")
    if isinstance(spec.mean, tuple) or isinstance(spec.std, tuple):
        raise ConfigError(f"'{name}' has one number a row.", remedy="Give one number as 'mean' and as 'std'.")
    mean = spec.mean if spec.mean is not None else (found.mean or 0.0) if found else 0.0
    return mean, _positive(spec.std) if spec.std is not None else (found.std or 1.0) if found else 1.0


def _positive(std: Numbers) -> Numbers:
    if min(std if isinstance(std, tuple) else (std,)) <= 0:
        raise ConfigError("'std' is not greater than 0.", remedy="Give the deviation of the values.")
    return std


def per_channel(values: Numbers, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """One number for all, or one per channel of ``[C, H, W]``, so that it broadcasts with ``[N, *shape]``.

    Raises:
        ConfigError: The list is not of the shape's channels.
    """
    numbers = np.asarray(values, np.float32)
    if numbers.ndim == 0:
        return numbers
    if len(shape) < 2 or numbers.size != shape[0]:
        raise ConfigError(
            f"{numbers.size} numbers are given for a tensor of shape {list(shape)}.",
            remedy="Give one, or as many as there are channels.",
        )
    return numbers.reshape(-1, *(1,) * (len(shape) - 1))


def _moved(statistics: Any, mean: float, std: float) -> NumericStatistics | None:
    if not isinstance(statistics, NumericStatistics):
        return None

    def moved(value: float | None) -> float | None:
        return None if value is None else (value - mean) / std

    def all_moved(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple((value - mean) / std for value in values)

    return replace(
        statistics,
        mean=moved(statistics.mean),
        std=None if statistics.std is None else statistics.std / std,
        minimum=moved(statistics.minimum),
        maximum=moved(statistics.maximum),
        quantiles=all_moved(statistics.quantiles) or (),
        values=all_moved(statistics.values),
    )


class Sequences:
    """See :class:`~distmtl.data.transforms.specs.SequenceSpec`."""

    def __init__(self, spec: SequenceSpec) -> None:
        self._spec = spec
        self.reads: Sequence[str] = (spec.column,)

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """The ragged column, and the column of lengths."""
        spec = self._spec
        info = require(columns, spec.column, "ragged")
        if np.dtype(info.dtype).kind != "f" and not spec.pad.is_integer():
            raise ConfigError(f"'{spec.column}' holds integers, and 'pad' is {spec.pad}.", remedy="Give an integer.")
        lengths = [length for length in (info.max_length, spec.max_length) if length is not None]
        changed = replace(info, pad=spec.pad, max_length=min(lengths, default=None), size=spec.size or info.size)
        described = {spec.column: changed}
        return described | ({spec.lengths: ColumnInfo("tensor", "int64")} if spec.lengths else {})

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The rows cut, and their lengths ``[N]`` int64."""
        values: Ragged = rows.columns[self._spec.column]
        if self._spec.max_length is not None:
            values = values.cut(self._spec.max_length)
        made: dict[str, ColumnValues] = {self._spec.column: values}
        return made | ({self._spec.lengths: values.lengths} if self._spec.lengths else {})
