"""CSV and TSV files: strings in batches. Their types are found later, over all files at once."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from distmtl.data.importers.base import TextOptions, check_names, cut, files_fingerprint, not_empty, reading
from distmtl.errors import SourceError

_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"^[+-]?\d+(\.\d*)?$")
_BLOCK = 2 * 2**20
"""Bytes of text that are parsed at a time; no row may be longer. Arrow reads some tens of blocks ahead."""


@dataclass(frozen=True)
class TextInput:
    """A CSV or TSV file, which may be compressed.

    Attributes:
        path: The file.
        options: How it is read.
        tabs: Whether cells are separated by tabs where the options do not say.
    """

    path: str
    options: TextOptions
    tabs: bool = False
    text: bool = True

    @property
    def notes(self) -> tuple[str, ...]:  # noqa: D102
        return self._head.notes

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        names = self._head.names[self._head.skip :]
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        return check_names(self.path, schema, "Rename it; if the file has no header line, give --header a,b,c.")

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, self._batches())

    def fingerprint(self) -> str:  # noqa: D102
        return files_fingerprint(self.path)

    @cached_property
    def _head(self) -> "_Head":
        with reading(self.path), _undecodable(self.path, self.options):
            delimiter, cells = _first_row(self.path, self.options, tabs=self.tabs)
            return _head(self.options, delimiter, cells)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        head, schema = self._head, self.schema
        with reading(self.path), _undecodable(self.path, self.options):
            reader = _open(self.path, self.options, head)
            with reader:
                for batch in reader:
                    yield from cut(pa.RecordBatch.from_arrays(batch.columns[head.skip :], schema=schema))


@dataclass(frozen=True)
class _Head:
    """The first line: delimiter, cells as written, column names, and how many leading columns are left out."""

    delimiter: str
    cells: tuple[str, ...]
    names: tuple[str, ...]
    skip: int
    notes: tuple[str, ...]


def _head(options: TextOptions, delimiter: str, cells: list[str]) -> _Head:
    names = tuple(name.strip() for name in options.header or cells)
    notes = []
    number = next((name for name in names if _NUMBER.match(name)), None)
    if number is not None and options.header is None:
        notes.append(f"a column is named '{number}'; if the first line is a row, give the names with --header")
    # DataFrame.to_csv writes its index as a first column without a name.
    skip = int(len(names) > 1 and not names[0])
    if skip:
        notes.append("the first column has no name and was left out")
    return _Head(delimiter, tuple(cells), names, skip, tuple(notes))


def _open(path: str, options: TextOptions, head: _Head) -> Any:
    return pacsv.open_csv(
        pa.input_stream(path, compression="detect"),
        # Without threads, Arrow knows the number of the row that it complains about, and is as fast.
        read_options=pacsv.ReadOptions(
            column_names=options.header, encoding=options.encoding, block_size=_BLOCK, use_threads=False
        ),
        parse_options=pacsv.ParseOptions(delimiter=head.delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in options.header or head.cells}, strings_can_be_null=False
        ),
    )


def _first_row(path: str, options: TextOptions, *, tabs: bool) -> tuple[str, list[str]]:
    """The delimiter, and the cells of the first line."""
    encoding = "utf-8-sig" if _is_utf8(options) else options.encoding
    with pa.input_stream(path, compression="detect") as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        head = text.read(1 << 20)
    if not head.strip():
        raise SourceError("the file is empty.", path, "Leave it out.")
    head = head.lstrip("\r\n")
    marks = options.delimiter or ("\t" if tabs else _DELIMITERS)
    rows = {mark: next(csv.reader(io.StringIO(head, newline=""), delimiter=mark)) for mark in marks}
    delimiter = max(rows, key=lambda mark: len(rows[mark]))
    return delimiter, rows[delimiter]


def _is_utf8(options: TextOptions) -> bool:
    return options.encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


@contextmanager
def _undecodable(path: str, options: TextOptions) -> Iterator[None]:
    """Name the line of bytes that are not UTF-8; Arrow does not."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeError) as error:
        line = _undecodable_line(path) if _is_utf8(options) and "utf" in str(error).lower() else 0
        if not line:
            raise
        raise SourceError(
            f"line {line} is not in UTF-8.", path, "Name the encoding of the file, such as --encoding latin-1."
        ) from error


def _undecodable_line(path: str) -> int:
    """Number of the first line that is not UTF-8, or 0."""
    with pa.input_stream(path, compression="detect") as stream:
        for number, line in enumerate(io.BufferedReader(stream), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0
