"""What the columns of the packed files are: their kind, and their values as NumPy arrays of one fixed width.

================================  =============  =====================================================================
type in the files                 kind           stored as
================================  =============  =====================================================================
boolean                           numeric        int32, 0 or 1
integer                           numeric        int32 if the values fit, else int64
float, decimal                    numeric        float32, or float64 where float32 would move a value by more than a
                                                 millionth of the column's standard deviation
date, timestamp, time, duration   numeric        seconds (a date or timestamp: since 1970-01-01 UTC)
string, dictionary of strings     categorical    int32 ids of the source's vocabulary
list of one length, fixed-size    tensor         the bytes of one row, in row-major order; nested lists give more
list, fixed-size binary                          dimensions, and binary without a dtype is uint8
no value at all                   numeric        float32, all null
================================  =============  =====================================================================

In text files a column is the first of these that all its non-null cells are: integer, float, boolean (true or false),
ISO 8601 date or timestamp; else it holds strings. Integers that begin with 0, such as postal codes, or need more than
64 bits, are identifiers and stay strings. NaN is null everywhere.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.manifest import ColumnKind
from distmtl.data.statistics import mean_and_std
from distmtl.data.tensors import TensorLayout, tensor_values
from distmtl.errors import SourceError

NULL_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""What a text file may write for null, unless the caller says otherwise."""

_FLOAT32_SHARE = 1e-6
"""Rounding to float32 is accepted up to this share of the column's standard deviation."""


@dataclass(frozen=True)
class TypingOptions:
    """What the caller knows better than the inference.

    Attributes:
        categorical: Columns whose values are names, whatever they look like.
        numeric: Columns whose values are numbers, though they are stored as strings.
        drop: Columns that are left out.
        tensors: What the bytes of binary columns are.
        nulls: Strings that mean null in text files and in the ``numeric`` columns.
    """

    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tensors: Mapping[str, TensorLayout] = field(default_factory=dict)
    nulls: tuple[str, ...] = NULL_TOKENS


@dataclass(frozen=True)
class TypedColumn:
    """A column of N rows in memory.

    Attributes:
        name: Its name.
        kind: Its kind.
        values: ``[N]`` numbers (0 for null), ``[N]`` int32 indices into ``words`` (-1 for null), or ``[N, *shape]``.
        origin: Its type in the files.
        valid: ``[N]`` bool, or None where no value is null; numeric columns only.
        words: The distinct values of a categorical column, in no particular order.
    """

    name: str
    kind: ColumnKind
    values: npt.NDArray[Any]
    origin: str
    valid: npt.NDArray[np.bool_] | None = None
    words: tuple[str, ...] = ()


def check_options(options: TypingOptions, names: Sequence[str]) -> None:
    """Refuse options that name no column, or one column in two ways.

    Raises:
        SourceError: They do.
    """
    given = {
        "--categorical": options.categorical,
        "--numeric": options.numeric,
        "--drop": options.drop,
        "--tensor": tuple(options.tensors),
    }
    taken: dict[str, str] = {}
    for option, columns in given.items():
        for name in columns:
            if name not in names:
                raise SourceError(f"there is no column '{name}', which {option} names.", remedy=nearest(name, names))
            if taken.setdefault(name, option) != option:
                raise SourceError(f"column '{name}' stands in both {taken[name]} and {option}.", remedy="Keep one.")


def nearest(name: str, names: Iterable[str]) -> str:
    """A remedy that offers the most similar name, or lists the first ones."""
    candidates = sorted(names)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    more = ", ..." if len(candidates) > 12 else ""
    return f"There are: {', '.join(candidates[:12])}{more}."


def type_column(name: str, data: pa.ChunkedArray, *, text: bool, options: TypingOptions) -> TypedColumn:
    """Find the kind and the values of one column.

    Args:
        name: Its name.
        data: Its values in all files.
        text: Whether they are the cells of text files.
        options: What the caller knows better.

    Raises:
        SourceError: Its type cannot be packed, or its values are not what the options say.
    """
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if text:
        data = _with_nulls(data, options.nulls)
    if name in options.categorical:
        return _categorical(name, _as_strings(name, data))
    if name in options.numeric and _is_string(data.type):
        return _numeric(name, _parsed_numbers(name, _with_nulls(data, options.nulls)))
    if _is_string(data.type):
        data = _parsed(data) if text else data
        if _is_string(data.type):
            return _categorical(name, data)
    tensor = tensor_values(name, data, options.tensors.get(name))
    if tensor is not None:
        return TypedColumn(name, "tensor", _narrow_tensor(tensor), str(data.type))
    return _numeric(name, data)


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _with_nulls(data: pa.ChunkedArray, tokens: Sequence[str]) -> pa.ChunkedArray:
    """Strings without the spaces around them, and null for the tokens."""
    data = pc.utf8_trim_whitespace(data.cast(pa.large_string()))
    absent = pc.is_in(data, value_set=pa.array(tokens, pa.large_string()))
    return pc.if_else(absent, pa.scalar(None, pa.large_string()), data)


def _parsed(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """The strings as the first type that all of them are, or as they are."""
    if data.null_count == len(data):
        return pa.chunked_array([pa.nulls(len(data))])
    if _any_match(data, r"^[+-]?0[0-9xX]"):
        return data
    for kind in (pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return data.cast(kind)
        except pa.ArrowInvalid:
            if kind == pa.int64() and _all_match(data, r"^[+-]?[0-9]+$"):
                return data
    return data


def _parsed_numbers(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return data.cast(kind)
        except pa.ArrowInvalid:
            continue
    bad = next(word for word in data.unique().to_pylist() if word is not None and not _is_number(word))
    raise SourceError(
        f"column '{name}' is given as --numeric but holds {bad!r}.", remedy="Name it with --null if it means null."
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _any_match(data: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(data, pattern)).as_py())


def _all_match(data: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(data, pattern)).as_py())


def _as_strings(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any plain type as strings; whole floats lose their ``.0``, as integers with nulls come as floats from pandas."""
    if _is_string(data.type):
        return data
    if pa.types.is_nested(data.type) or pa.types.is_fixed_size_binary(data.type):
        raise _cannot_pack(f"column '{name}' of type {data.type} cannot be categorical", name)
    if pa.types.is_floating(data.type):
        data = pc.if_else(pc.is_nan(data), pa.scalar(None, data.type), data)
        with suppress(pa.ArrowInvalid):
            data = data.cast(pa.int64())
    try:
        return data.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _cannot_pack(f"column '{name}' of type {data.type} cannot be categorical", name) from error


def _cannot_pack(what: str, name: str) -> SourceError:
    return SourceError(f"{what}.", remedy=f"Use --drop {name}.")


def _categorical(name: str, data: pa.ChunkedArray) -> TypedColumn:
    encoded = data.dictionary_encode().combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return TypedColumn(name, "categorical", codes, "string", words=tuple(encoded.dictionary.to_pylist()))


def _numeric(name: str, data: pa.ChunkedArray) -> TypedColumn:
    plain = _as_numbers(name, data).combine_chunks()
    valid = pc.is_valid(plain).to_numpy(zero_copy_only=False)
    values: npt.NDArray[Any] = pc.fill_null(plain, 0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        valid = valid & ~np.isnan(values)
        values = _narrow_floats(np.where(valid, values, values.dtype.type(0)))
    elif not values.size or (values.min() >= -(2**31) and values.max() < 2**31):
        values = values.astype(np.int32)
    return TypedColumn(name, "numeric", values, str(data.type), None if valid.all() else valid)


def _as_numbers(name: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any plain type as int64, float32 or float64."""
    kind, types = data.type, pa.types
    if types.is_null(kind) or types.is_float16(kind) or types.is_float32(kind):
        return data.cast(pa.float32())
    if types.is_boolean(kind):
        return data.cast(pa.uint8()).cast(pa.int64())
    if types.is_float64(kind) or types.is_decimal(kind):
        return data.cast(pa.float64())
    if types.is_integer(kind):
        try:
            return data.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"column '{name}' of type {kind} holds integers above 2^63 - 1.", remedy=f"Use --categorical {name}."
            ) from error
    if types.is_temporal(kind) and not types.is_interval(kind):
        return _seconds(data)
    raise _cannot_pack(f"column '{name}' is of type {kind}, which cannot be packed", name)


def _seconds(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """A temporal column as seconds: int64 where all are whole, else float64."""
    kind = data.type
    if pa.types.is_date(kind):
        data = data.cast(pa.timestamp("ms"))
    unit = data.type.unit
    ticks = data.cast(pa.int32()) if pa.types.is_time32(kind) else data
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    counts = ticks.cast(pa.int64())
    whole = pc.divide(counts, per_second)
    if pc.all(pc.equal(pc.multiply(whole, per_second), counts)).as_py() is not False:
        return whole
    return pc.divide(counts.cast(pa.float64(), safe=False), float(per_second))


def _narrow_floats(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """float64 as float32 where that loses nothing that matters."""
    if values.dtype != np.float64:
        return values
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        moved = float(np.abs(finite - finite.astype(np.float32)).max(initial=0.0))
    return narrow if moved == 0 or moved <= _FLOAT32_SHARE * mean_and_std(finite)[1] < np.inf else values


def _narrow_tensor(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(_narrow_floats(values))
