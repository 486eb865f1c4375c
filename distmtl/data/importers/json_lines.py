"""JSON Lines: one object on each line. A column's type is that of its values on all lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson

from distmtl.data.importers.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    check_names,
    cut,
    files_fingerprint,
    first_line,
    not_empty,
    reading,
)
from distmtl.data.importers.plain import Plain
from distmtl.data.importers.unify import describe, kind_of, unify
from distmtl.errors import SourceError

_BLOCK = 4 * 2**20
_LINE = 256 * 2**20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class JsonLinesInput:
    """A file of JSON objects, one a line; it may be compressed. Objects in objects become columns ``a.b``."""

    path: str
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        return check_names(self.path, self._plain.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, self._batches())

    def fingerprint(self) -> str:  # noqa: D102
        return files_fingerprint(self.path)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        check_names(self.path, self._plain.schema)
        read = pa.schema([field for field in self._found if field.name not in self.drop])
        options = pajson.ParseOptions(explicit_schema=read, unexpected_field_behavior="ignore")
        # An object may leave out most columns, so that few bytes of text give many of a batch.
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES // (8 * max(1, len(read)))))
        for first, block in self._blocks(rows):
            table = _parse(self.path, first, block, options, self.drop)
            if not table.num_rows:
                continue
            columns = [
                pa.nulls(table.num_rows) if field.name in self.drop else table[field.name].combine_chunks()
                for field in self._found
            ]
            batch = pa.RecordBatch.from_arrays(columns, names=self._found.names)
            yield from cut(self._plain.apply(batch))

    @cached_property
    def _plain(self) -> Plain:
        return Plain.of(self._found, self.path, self.drop)

    @cached_property
    def _found(self) -> pa.Schema:
        """Columns and types over the whole file, with objects as structs."""
        kinds: dict[str, pa.DataType] = {}
        for first, block in self._blocks(BATCH_ROWS):
            for field in _parse(self.path, first, block, None, self.drop).schema:
                before = kinds.get(field.name, pa.null())
                kind = pa.null() if field.name in self.drop else unify(before, field.type)
                if kind is None:
                    raise self._mixed(field.name, before, first, block)
                kinds[field.name] = kind
        return pa.schema(list(kinds.items()))

    def _mixed(self, name: str, before: pa.DataType, first: int, block: bytes) -> SourceError:
        """Why a column that is fine in a block does not go with the lines before it."""
        for number, line in _lines(first, block):
            value = json.loads(line).get(name)
            kind = kind_of(_within_64_bits(value))
            if kind is not None and unify(before, kind) is None:
                return _conflict(self.path, number, name, before, kind)
        return _conflict(self.path, first, name, before, pa.null())

    def _blocks(self, rows: int) -> Iterator[tuple[int, bytes]]:
        """Whole lines, some megabytes at a time and at most so many, each with the number of its first line."""
        with reading(self.path), pa.input_stream(self.path, compression="detect") as stream:
            first, rest = 1, b""
            while chunk := stream.read(_BLOCK):
                if first == 1 and not rest:
                    chunk = chunk.removeprefix(_BOM)
                rest += chunk
                if len(rest) > _LINE:
                    what = f"line {first} is longer than {_LINE // 2**20} MiB."
                    raise SourceError(what, self.path, _array_remedy(first, rest[:1] + b"..."))
                end = rest.rfind(b"\n") + 1
                for block in _at_most(rows, rest[:end]):
                    yield first, block
                    first += block.count(b"\n")
                rest = rest[end:]
            if rest.strip():
                yield first, rest


def _at_most(rows: int, block: bytes) -> Iterator[bytes]:
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))[rows - 1 :: rows].tolist()
    for start, end in zip([0, *(e + 1 for e in ends)], [*(e + 1 for e in ends), len(block)], strict=True):
        if end > start:
            yield block[start:end]


def _parse(path: str, first: int, block: bytes, options: pajson.ParseOptions | None, drop: tuple[str, ...]) -> pa.Table:
    """The objects of a block.

    Raises:
        SourceError: A line is broken, is no object, or holds something else than a line before; it says which.
    """
    if not block.strip():
        return pa.table({})
    cause: Exception | None = None
    try:
        table = _read(block, options)
        # Arrow takes objects over several lines, and several on one: only as long as no block ends in them.
        if table.num_rows == block.count(b"\n") or table.num_rows == sum(1 for _ in _lines(first, block)):
            return table
    except (pa.ArrowInvalid, UnicodeError) as error:
        cause = error
    rows = [(number, _object(path, number, line)) for number, line in _lines(first, block)]
    kept = [(number, {name: None if name in drop else value for name, value in row.items()}) for number, row in rows]
    _refuse_mixed(path, kept)
    try:
        return _read(b"\n".join(json.dumps(row).encode() for _, row in kept), options)
    except pa.ArrowInvalid as error:
        what = first_line(cause or error)
        raise SourceError(f"cannot be read from line {first} on: {what}.", path, "Mend it.") from error


def _read(block: bytes, options: pajson.ParseOptions | None) -> pa.Table:
    if options is None:
        block.decode()  # Arrow does not look whether strings are in UTF-8.
    # One block, so that types are found over all of it.
    return pajson.read_json(
        pa.BufferReader(block), pajson.ReadOptions(use_threads=False, block_size=len(block) + 1), options
    )


def _lines(first: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    return ((first + i, line) for i, line in enumerate(block.split(b"\n")) if line.strip())


def _object(path: str, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=lambda pairs: _distinct(path, number, pairs))
    except UnicodeDecodeError as error:
        raise SourceError(f"line {number} is not in UTF-8.", path, "JSON is in UTF-8: convert the file.") from error
    except json.JSONDecodeError as error:
        what = f"line {number} is not JSON: {error.msg} at character {error.pos + 1}."
        raise SourceError(what, path, _array_remedy(number, line)) from error
    except RecursionError as error:
        raise SourceError(f"line {number} has too many lists in lists.", path, "Delete it.") from error
    if not isinstance(row, dict):
        raise SourceError(f"line {number} is not a JSON object.", path, _array_remedy(number, line))
    return row


def _distinct(path: str, number: int, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"line {number} gives '{twice}' twice.", path, "Leave one of them out.")
    return row


def _array_remedy(number: int, line: bytes) -> str:
    if number == 1 and line.lstrip().startswith((b"[", b"{")) and not line.rstrip().endswith(b"}"):
        return "Write one object a line: jq -c '.[]' FILE for an array, jq -c . FILE for objects over several lines."
    return 'Mend or delete that line; each one is an object, such as {"a": 1}.'


def _refuse_mixed(path: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    kinds: dict[str, pa.DataType] = {}
    for number, row in rows:
        for name, value in row.items():
            before = kinds.get(name, pa.null())
            kind = kind_of(_within_64_bits(value))
            if kind is None:
                raise SourceError(
                    f"line {number}: the elements of '{name}' differ in type.",
                    path,
                    f"Give them one type, or use --drop {name}.",
                )
            both = unify(before, kind)
            if both is None:
                raise _conflict(path, number, name, before, kind)
            kinds[name] = both


def _within_64_bits(value: Any) -> Any:
    """A value whose integers that are too large are floats, which is what Arrow reads them as."""
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, list):
        return [_within_64_bits(element) for element in value]
    return {name: _within_64_bits(part) for name, part in value.items()} if isinstance(value, dict) else value


def _conflict(path: str, number: int, name: str, before: pa.DataType, kind: pa.DataType) -> SourceError:
    return SourceError(
        f"line {number}: '{name}' is {describe(kind)}, but {describe(before)} on a line before.",
        path,
        f"Give it one type on all lines, or use --drop {name}.",
    )
