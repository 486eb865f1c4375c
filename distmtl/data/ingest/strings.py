"""Strings and cells of text files, one batch at a time: null words, numbers written as text, names."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distmtl.data.ingest.numbers import cannot_pack

PARSES = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "timestamp UTC": pa.timestamp("us", "UTC"),
}
"""What cells may be other than strings, the first that all of a column are being taken."""

_NUMBERS = r"^[+-]?[0-9]+$"
_IDENTIFIERS = r"^[+-]?0[0-9xX]"


def is_string(kind: pa.DataType) -> bool:
    """Whether values of this type are UTF-8."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def with_nulls(data: Any, tokens: Sequence[str]) -> Any:
    """Strings without the spaces around them, and null for the tokens."""
    data = pc.utf8_trim_whitespace(data.cast(pa.large_string()))
    absent = pc.is_in(data, value_set=pa.array(tokens, pa.large_string()))
    return pc.if_else(absent, pa.scalar(None, pa.large_string()), data)


def parsed(data: Any, parse: str) -> Any | None:
    """Strings as one of :data:`PARSES`, or None where one is not of it."""
    try:
        return data.cast(PARSES[parse])
    except pa.ArrowInvalid:
        return None


def have_identifier(data: Any) -> bool:
    """Whether a string is an integer that begins with 0, or is written in base 16."""
    return bool(pc.any(pc.match_substring_regex(data, _IDENTIFIERS)).as_py())


def all_digits(data: Any) -> bool:
    """Whether all strings are integers, of whatever length."""
    return bool(pc.all(pc.match_substring_regex(data, _NUMBERS)).as_py())


def first_non_number(data: Any) -> str | None:
    """The first string that is no number."""
    return next((word for word in data.unique().to_pylist() if word is not None and not _is_number(word)), None)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def as_names(name: str, array: Any, *, whole: bool) -> Any:
    """Any plain type as large strings.

    Args:
        name: The column.
        array: Its values.
        whole: Whether floats are whole and lose their ``.0``: integers with nulls come as floats from pandas.

    Raises:
        SourceError: The type is nested.
    """
    kind = array.type
    if is_string(kind):
        return array.cast(pa.large_string())
    if pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind):
        raise cannot_pack(f"column '{name}' of type {kind} cannot be categorical", name)
    if pa.types.is_floating(kind):
        array = without_nan(array)
        array = array.cast(pa.int64()) if whole else array
    try:
        return array.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise cannot_pack(f"column '{name}' of type {kind} cannot be categorical", name) from error


def is_whole(array: Any) -> bool:
    """Whether an array is of floats that are all integers."""
    if not pa.types.is_floating(array.type):
        return False
    try:
        without_nan(array).cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def without_nan(array: Any) -> Any:
    """Floats with null for NaN."""
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def hashes(words: Any, seed: int = 0) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each string ``[N]``; none may be null."""
    array = words.cast(pa.large_string())
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1].tolist()
    data = memoryview(array.buffers()[2] or b"")
    found = (xxhash.xxh3_64_intdigest(data[a:b], seed) for a, b in pairwise(offsets))
    return np.fromiter(found, np.uint64, len(array))


class DistinctCount:
    """The number of distinct strings, counted up to a limit in 8 bytes each.

    Attributes:
        values: Strings that are not null.
        limit: Up to how many are counted exactly.
    """

    def __init__(self, limit: int) -> None:
        self.values = 0
        self.limit = limit
        self._seen: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._new: list[npt.NDArray[np.uint64]] = []

    def add(self, data: Any) -> None:
        """Take strings."""
        self.values += len(data) - data.null_count
        if len(self._seen) <= self.limit:
            self._take(hashes(data.unique().drop_null()))

    def merge(self, other: "DistinctCount") -> None:
        """Take what another input has."""
        self.values += other.values
        if len(self._seen) <= self.limit:
            self._take(other._all())

    @property
    def count(self) -> int:
        """How many there are; a number above the limit where there are more than that."""
        return len(self._all())

    def _take(self, found: npt.NDArray[np.uint64]) -> None:
        self._new.append(found)
        if sum(map(len, self._new)) > len(self._seen):
            self._all()

    def _all(self) -> npt.NDArray[np.uint64]:
        if self._new:
            # np.unique would build a table of hashes, which takes several times the memory.
            found = np.sort(np.concatenate([self._seen, *self._new]))
            self._seen = found[np.concatenate([[True], found[1:] != found[:-1]])] if len(found) else found
            self._new = []
        return self._seen
