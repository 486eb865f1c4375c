"""What a column is, found batch by batch: each scanner sees the batches of one input, and is merged with the others'.

What is found does not depend on how the rows are cut into batches.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.infer import TypingOptions
from distmtl.data.ingest import lists, strings
from distmtl.data.ingest.kinds import ColumnType, ragged_dtype
from distmtl.data.ingest.numbers import FloatRange, NumberRange, cannot_pack
from distmtl.data.tensors import TensorLayout, field_layout
from distmtl.errors import SourceError

FEW_WORDS = 1000
"""A column of strings may have as many distinct values as this, however few rows there are."""


class Scanner(Protocol):
    """Learns of a column what its type is decided by."""

    def add(self, array: Any) -> None:
        """Take a batch of the column."""
        ...

    def finish(self) -> None:
        """End the input."""
        ...

    def merge(self, other: Any) -> None:
        """Take what the scanner of the next input has found; both are finished."""
        ...

    def decide(self, rows: int) -> ColumnType | None:
        """The type, given the rows of all inputs; None where the inputs must be read once more to know it."""
        ...


def scanner(column: pa.Field, *, text: bool, options: TypingOptions, limit: int, known_words: bool) -> Scanner:
    """The scanner for a column.

    Args:
        column: Its field in the schema that all inputs share.
        text: Whether the inputs are text files, so that strings are cells.
        options: What the caller knows better.
        limit: Largest number of words of a categorical column.
        known_words: Whether an earlier scan found that its cells are words.

    Raises:
        SourceError: Its type cannot be packed.
    """
    name, kind = column.name, column.type
    if name in options.categorical or name in options.text:
        chosen = "categorical" if name in options.categorical else "text"
        return WordScanner(name, str(kind), options.nulls if text else None, chosen)
    if strings.is_string(kind) and (text or name in options.numeric):
        return _cells(name, options, limit, known_words=known_words)
    if strings.is_string(kind):
        return WordScanner(name, "string", None, "", strings.DistinctCount(limit))
    if isinstance(kind, pa.FixedShapeTensorType) or lists.is_list(kind):
        return ListScanner(name, kind)
    layout = options.tensors.get(name) or field_layout(column)
    if lists.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _binary(column, layout)
    if pa.types.is_nested(kind):
        raise cannot_pack(f"column '{name}' is of type {kind}, which cannot be packed", name)
    return NumberScanner(name, str(kind))


def _cells(name: str, options: TypingOptions, limit: int, *, known_words: bool) -> Scanner:
    if name in options.numeric:
        return CellScanner(name, options.nulls, ("int64", "float64", "bool"), None)
    if known_words:
        return WordScanner(name, "string", options.nulls, "", strings.DistinctCount(limit))
    return CellScanner(name, options.nulls, tuple(strings.PARSES), strings.DistinctCount(limit))


def _binary(column: pa.Field, layout: TensorLayout | None) -> Scanner:
    kind, dtype = column.type, ragged_dtype(column)
    if layout is None and pa.types.is_fixed_size_binary(kind):
        layout = TensorLayout("uint8", (kind.byte_width,))
    if layout is not None:
        return LayoutScanner(column.name, str(kind), layout)
    return BytesScanner(column.name, str(kind), dtype or "")


@dataclass
class NumberScanner:
    """A column of a type that stands for numbers."""

    name: str
    origin: str
    range: NumberRange = field(default_factory=NumberRange)

    def add(self, array: Any) -> None:  # noqa: D102
        self.range.add(self.name, array)

    def finish(self) -> None:  # noqa: D102
        self.range.floats.finish()

    def merge(self, other: "NumberScanner") -> None:  # noqa: D102
        self.range.merge(other.range)

    def decide(self, rows: int) -> ColumnType:  # noqa: ARG002, D102
        return numeric_type(self.name, self.origin, self.range)


def numeric_type(name: str, origin: str, found: NumberRange, parse: str = "", *, trim: bool = False) -> ColumnType:
    """The type of a numeric column."""
    dtype = found.dtype
    return ColumnType(
        name, "numeric", dtype, origin=origin, nullable=found.nulls > 0, trim=trim, parse=parse,
        row_bytes=8 if dtype.endswith("64") else 4,
    )  # fmt: skip


@dataclass
class WordScanner:
    """A column that holds names or text, whatever its type is."""

    name: str
    origin: str
    tokens: tuple[str, ...] | None
    chosen: str
    distinct: strings.DistinctCount | None = None
    whole: bool = True
    bytes: int = 0

    def add(self, array: Any) -> None:  # noqa: D102
        if self.tokens is not None and strings.is_string(array.type):
            array = strings.with_nulls(array, self.tokens)
        self.whole &= strings.is_whole(array)
        words = strings.as_names(self.name, array, whole=False)
        self.bytes += pc.sum(pc.binary_length(words)).as_py() or 0
        if self.distinct is not None:
            self.distinct.add(words)

    def finish(self) -> None:  # noqa: D102
        return

    def merge(self, other: "WordScanner") -> None:  # noqa: D102
        self.whole &= other.whole
        self.bytes += other.bytes
        if self.distinct is not None and other.distinct is not None:
            self.distinct.merge(other.distinct)

    def decide(self, rows: int) -> ColumnType:  # noqa: D102
        trim = self.tokens is not None
        kind = self.chosen or ("text" if _is_text(self.distinct) else "categorical")
        if kind == "text":
            size = 4 + -(-self.bytes // max(1, rows))
            return ColumnType(
                self.name, "text", "utf8", origin=self.origin, trim=trim, whole=self.whole, row_bytes=size
            )
        return ColumnType(self.name, "categorical", "int32", origin="string", trim=trim, whole=self.whole)


def _is_text(distinct: strings.DistinctCount | None) -> bool:
    """Whether strings differ so much that they are no names; where their number is unknown, they are."""
    if distinct is None:
        return False
    return distinct.count > max(FEW_WORDS, min(distinct.limit, distinct.values / 2))


@dataclass
class CellScanner:
    """Cells of text files: numbers, dates or truth values as long as all are, else words."""

    name: str
    tokens: tuple[str, ...]
    parses: tuple[str, ...]
    distinct: strings.DistinctCount | None
    ranges: dict[str, NumberRange] = field(init=False)
    nulls: int = 0
    values: int = 0
    digits: bool = True
    identifier: bool = False
    non_number: str | None = None
    bytes: int = 0

    def __post_init__(self) -> None:
        self.ranges = {parse: NumberRange() for parse in self.parses}

    def add(self, array: Any) -> None:  # noqa: D102
        data = strings.with_nulls(array, self.tokens)
        if data.null_count == len(data):
            self._add_nulls(len(data))
            return
        if self.distinct is not None and not self.identifier:
            self.identifier = strings.have_identifier(data)
        if self._words:
            self._add_words(data)
        else:
            self._add_parsed(data)
            if self._words:
                self._add_words(data)
        self.nulls += data.null_count
        self.values += len(data) - data.null_count

    @property
    def _words(self) -> bool:
        return self.distinct is not None and (self.identifier or not self.ranges)

    def _add_nulls(self, count: int) -> None:
        self.nulls += count
        for found in self.ranges.values():
            found.nulls += count

    def _add_parsed(self, data: Any) -> None:
        # Every integer is a float, too, and is read only once.
        integers = strings.parsed(data, "int64") if "int64" in self.ranges else None
        for parse in list(self.ranges):
            found = integers if parse == "int64" else None
            if parse == "float64" and integers is not None:
                found = integers.cast(pa.float64(), safe=False)
            elif parse != "int64":
                found = strings.parsed(data, parse)
            if found is None:
                self._rule_out(parse, data)
            else:
                self.ranges[parse].add(self.name, found)
        if "int64" not in self.ranges and self.digits:
            self.digits = strings.all_digits(data)

    def _rule_out(self, parse: str, data: Any) -> None:
        del self.ranges[parse]
        if parse == "float64" and self.non_number is None:
            self.non_number = strings.first_non_number(data)

    def _add_words(self, data: Any) -> None:
        # Where the words of earlier batches were not counted, the input has to be read once more.
        if self.distinct is not None and self.distinct.values == self.values:
            self.distinct.add(data)
            self.bytes += pc.sum(pc.binary_length(data)).as_py() or 0

    def finish(self) -> None:  # noqa: D102
        for found in self.ranges.values():
            found.floats.finish()

    def merge(self, other: "CellScanner") -> None:  # noqa: D102
        for parse in list(self.ranges):
            if parse in other.ranges:
                self.ranges[parse].merge(other.ranges[parse])
            else:
                del self.ranges[parse]
        self.nulls += other.nulls
        self.values += other.values
        self.digits &= other.digits
        self.identifier |= other.identifier
        self.non_number = self.non_number if self.non_number is not None else other.non_number
        self.bytes += other.bytes
        if self.distinct is not None and other.distinct is not None:
            self.distinct.merge(other.distinct)

    def decide(self, rows: int) -> ColumnType | None:  # noqa: D102
        if not self.values:
            return ColumnType(self.name, "numeric", "float32", origin="null", nullable=self.nulls > 0, trim=True)
        parse = next(iter(self.ranges), None)
        if self.distinct is not None and self._are_words(parse):
            if self.distinct.values < self.values:
                return None
            found = WordScanner(self.name, "string", self.tokens, "", self.distinct, bytes=self.bytes)
            return found.decide(rows)
        if parse is None:
            raise SourceError(
                f"column '{self.name}' is given as --numeric but holds {self.non_number!r}.",
                remedy="Name it with --null if it means null.",
            )
        return numeric_type(self.name, str(strings.PARSES[parse]), self.ranges[parse], parse, trim=True)

    def _are_words(self, parse: str | None) -> bool:
        """Identifiers are words: integers that begin with 0, or are too long for a number."""
        too_long = parse != "int64" and self.digits
        return self.identifier or parse is None or too_long


@dataclass
class ListScanner:
    """A column of lists of numbers: tensors of one shape, or rows of any length."""

    name: str
    type: pa.DataType
    nulls: int = 0
    numbers: int = 0
    shapes: dict[tuple[int, ...], None] = field(default_factory=dict)
    floats: FloatRange = field(default_factory=FloatRange)
    dtype: str = field(init=False)

    def __post_init__(self) -> None:
        self.dtype = lists.list_type(self.name, getattr(self.type, "storage_type", self.type))

    def add(self, array: Any) -> None:  # noqa: D102
        array, shape = lists.plain_lists(self.name, array)
        self.nulls += array.null_count
        found = [shape] if shape else lists.list_shapes(self.name, array)
        self._add_shapes(found)
        values = lists.list_values(self.name, array)
        self.numbers += len(values)
        if self.dtype == "float64":
            self.floats.add(values)

    def _add_shapes(self, shapes: list[tuple[int, ...]]) -> None:
        for shape in shapes:
            if len(self.shapes) < 6:
                self.shapes[shape] = None
        if len(self.shapes) > 1 and any(len(shape) > 1 for shape in self.shapes):
            raise lists.differing(self.name, sorted(self.shapes))

    def finish(self) -> None:  # noqa: D102
        self.floats.finish()

    def merge(self, other: "ListScanner") -> None:  # noqa: D102
        self.nulls += other.nulls
        self.numbers += other.numbers
        self.floats.merge(other.floats)
        self._add_shapes(list(other.shapes))

    def decide(self, rows: int) -> ColumnType:  # noqa: D102
        dtype = self.floats.dtype if self.dtype == "float64" else self.dtype
        shapes = list(self.shapes)
        width = np.dtype(dtype).itemsize
        if len(shapes) == 1 and 0 not in shapes[0]:
            if self.nulls:
                raise lists.null_tensor(self.name, self.nulls)
            layout = TensorLayout(dtype, shapes[0])
            return ColumnType(self.name, "tensor", dtype, shapes[0], str(self.type), row_bytes=layout.bytes)
        if shapes and len(shapes[0]) > 1:
            raise lists.differing(self.name, shapes)
        size = 4 + -(-self.numbers * width // max(1, rows))
        return ColumnType(self.name, "ragged", dtype, origin=str(self.type), row_bytes=size)


@dataclass
class LayoutScanner:
    """Binary values that are tensors of a known layout."""

    name: str
    origin: str
    layout: TensorLayout
    floats: FloatRange = field(default_factory=FloatRange)

    def add(self, array: Any) -> None:  # noqa: D102
        if array.null_count:
            raise lists.null_tensor(self.name, array.null_count)
        sizes = pc.unique(pc.binary_length(array)).to_pylist()
        if sizes not in ([self.layout.bytes], []):
            raise lists.wrong_sizes(self.name, sorted(sizes), self.layout)
        if self.layout.dtype == "float64":
            self.floats.add(lists.binary_values(array, self.layout).ravel())

    def finish(self) -> None:  # noqa: D102
        self.floats.finish()

    def merge(self, other: "LayoutScanner") -> None:  # noqa: D102
        self.floats.merge(other.floats)

    def decide(self, rows: int) -> ColumnType:  # noqa: ARG002, D102
        dtype = self.floats.dtype if self.layout.dtype == "float64" else self.layout.dtype
        stored = TensorLayout(dtype, self.layout.shape)
        return ColumnType(
            self.name, "tensor", stored.dtype, stored.shape, self.origin, layout=self.layout, row_bytes=stored.bytes
        )


@dataclass
class BytesScanner:
    """Binary values of any length: bytes, or the numbers of a ragged column of another source."""

    name: str
    origin: str
    ragged: str
    bytes: int = 0

    def add(self, array: Any) -> None:  # noqa: D102
        self.bytes += pc.sum(pc.binary_length(array)).as_py() or 0

    def finish(self) -> None:  # noqa: D102
        return

    def merge(self, other: "BytesScanner") -> None:  # noqa: D102
        self.bytes += other.bytes

    def decide(self, rows: int) -> ColumnType:  # noqa: D102
        size = 4 + -(-self.bytes // max(1, rows))
        if self.ragged:
            return ColumnType(self.name, "ragged", self.ragged, origin=self.origin, row_bytes=size)
        return ColumnType(self.name, "bytes", "uint8", origin=self.origin, row_bytes=size)
