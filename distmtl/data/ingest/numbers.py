"""Arrow arrays of plain types as numbers, one batch at a time, and the narrowest type that holds all of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.ingest.moments import Moments, MomentsFold
from distmtl.errors import SourceError

_FLOAT32_SHARE = 1e-6
"""Rounding to float32 is accepted up to this share of the column's standard deviation."""

_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass
class FloatRange:
    """How much of finite floats would be lost in float32."""

    moved: float = 0.0
    moments: Moments = field(default_factory=Moments)
    _fold: MomentsFold = field(default_factory=MomentsFold)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take numbers ``[N]``, finite or not."""
        finite = values[np.isfinite(values)]
        with np.errstate(over="ignore"):
            self.moved = max(self.moved, float(np.abs(finite - finite.astype(np.float32)).max(initial=0.0)))
        self._fold.add(finite)

    def finish(self) -> None:
        """End an input: its sums are complete."""
        self.moments += self._fold.finish()
        self._fold = MomentsFold()

    def merge(self, other: "FloatRange") -> None:
        """Take what another input has."""
        self.moved = max(self.moved, other.moved)
        self.moments += other.moments

    @property
    def dtype(self) -> str:
        """The narrower type that loses nothing that matters."""
        small = self.moved == 0 or self.moved <= _FLOAT32_SHARE * self.moments.std < np.inf
        return "float32" if small else "float64"


@dataclass
class IntRange:
    """The smallest and the largest of some integers."""

    low: int = 0
    high: int = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take integers ``[N]``."""
        if len(values):
            self.low, self.high = min(self.low, int(values.min())), max(self.high, int(values.max()))

    def merge(self, other: "IntRange") -> None:
        """Take what another input has."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def dtype(self) -> str:
        """int32 where all fit."""
        return "int32" if self.low >= -(2**31) and self.high < 2**31 else "int64"


@dataclass
class NumberRange:
    """What is known of the numbers of a column.

    Attributes:
        nulls: Rows without a value, NaN included.
        whole: Whether all are integers of type, or whole seconds.
        single: Whether their type is at most as wide as float32.
    """

    nulls: int = 0
    whole: bool = True
    single: bool = True
    ints: IntRange = field(default_factory=IntRange)
    floats: FloatRange = field(default_factory=FloatRange)

    def add(self, name: str, array: Any) -> None:
        """Take an array of a plain type.

        Raises:
            SourceError: Its type or its values cannot be packed.
        """
        numbers = as_numbers(name, array)
        values, valid = plain_values(numbers)
        self.nulls += len(values) - int(valid.sum())
        if values.dtype.kind != "f":
            self.ints.add(values[valid])
        elif len(values):
            self.whole = False
        self.single &= values.dtype == np.float32
        if pa.types.is_temporal(array.type):
            # Whole seconds in this batch, perhaps not in the next.
            self.floats.add(plain_values(float_seconds(array))[0][valid])
        elif values.dtype == np.float64:
            self.floats.add(values[valid])

    def merge(self, other: "NumberRange") -> None:
        """Take what another input has."""
        self.nulls += other.nulls
        self.whole &= other.whole
        self.single &= other.single
        self.ints.merge(other.ints)
        self.floats.merge(other.floats)

    @property
    def dtype(self) -> str:
        """What the numbers are stored as."""
        if self.single:
            return "float32"
        return self.ints.dtype if self.whole else self.floats.dtype


def plain_values(array: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """``[N]`` numbers, and which of them are neither null nor NaN; the others are 0."""
    if not array.null_count:
        values = array.to_numpy(zero_copy_only=False)
        valid = np.ones(len(values), bool)
    else:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        nan = np.isnan(values)
        if nan.any():
            valid = valid & ~nan
            values = np.where(valid, values, values.dtype.type(0))
    return values, valid


def as_numbers(name: str, array: Any) -> Any:
    """Any plain type as int64, float32 or float64.

    Raises:
        SourceError: Its type or its values cannot be packed.
    """
    kind, types = array.type, pa.types
    if types.is_null(kind) or types.is_float16(kind) or types.is_float32(kind):
        return array.cast(pa.float32())
    if types.is_boolean(kind):
        return array.cast(pa.uint8()).cast(pa.int64())
    if types.is_float64(kind) or types.is_decimal(kind):
        return array.cast(pa.float64())
    if types.is_integer(kind):
        try:
            return array.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"column '{name}' of type {kind} holds integers above 2^63 - 1.", remedy=f"Use --categorical {name}."
            ) from error
    if types.is_temporal(kind) and not types.is_interval(kind):
        whole = whole_seconds(array)
        return float_seconds(array) if whole is None else whole
    raise cannot_pack(f"column '{name}' is of type {kind}, which cannot be packed", name)


def numbers_array(name: str, array: Any, dtype: str) -> Any:
    """Any plain type as a column of ``dtype``, null where there is no value or NaN."""
    seconds = pa.types.is_temporal(array.type) and dtype.startswith("float")
    values, valid = plain_values(float_seconds(array) if seconds else as_numbers(name, array))
    with np.errstate(over="ignore"):
        stored = values.astype(dtype, copy=False)
    return pa.array(stored, mask=None if valid.all() else ~valid)


def whole_seconds(array: Any) -> Any | None:
    """A temporal array as int64 seconds, or None where one is not whole."""
    counts, per_second = _ticks(array)
    whole = pc.divide(counts, per_second)
    same = pc.all(pc.equal(pc.multiply(whole, per_second), counts)).as_py()
    return None if same is False else whole


def float_seconds(array: Any) -> Any:
    """A temporal array as float64 seconds."""
    counts, per_second = _ticks(array)
    return pc.divide(counts.cast(pa.float64(), safe=False), float(per_second))


def _ticks(array: Any) -> tuple[Any, int]:
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    ticks = array.cast(pa.int32()) if pa.types.is_time32(array.type) else array
    return ticks.cast(pa.int64()), _TICKS[array.type.unit]


def cannot_pack(what: str, name: str) -> SourceError:
    """The error for a type that has no place in a source."""
    return SourceError(f"{what}.", remedy=f"Use --drop {name}.")
