"""What an importer promises: the rows of one input as a stream of Arrow batches, however large the input is."""

import csv
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import xxhash

from distmtl.errors import SourceError

BATCH_BYTES = 8 * 2**20
"""A batch holds at most this many bytes, save where one row alone holds more."""

BATCH_ROWS = 65_536
"""A batch has at most this many rows."""

_CHUNK = 4 * 2**20


@dataclass(frozen=True)
class TextOptions:
    """How CSV and TSV files are read.

    Attributes:
        header: Column names of files without a header line, or None.
        delimiter: What separates cells; by default a tab in .tsv, else the one of ``, ; tab |`` that cuts the first
            line into most cells.
        encoding: Character encoding.
    """

    header: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class ImportOptions:
    """What the caller knows better than the importers.

    Attributes:
        text: How CSV and TSV files are read.
        files: Columns that name files, whose bytes are to stand in their place, with the folder that the names are
            relative to; None: the folder of the file that holds the names.
        drop: Columns that the caller will leave out. What cannot be read of them is no error: they may come as nulls.
    """

    text: TextOptions = field(default_factory=TextOptions)
    files: Mapping[str, str | None] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


class RawInput(Protocol):
    """The rows of one file, folder or object, read as often as is asked. It can be pickled.

    Every property and method may raise SourceError: the input cannot be read, or its column names are empty or
    repeated.
    """

    @property
    def path(self) -> str:
        """What it is called in messages: a file or a folder."""
        ...

    @property
    def text(self) -> bool:
        """Whether its string columns are cells of a text file, whose types are still to be found."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how it is read."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Its columns, in order; names are distinct and not empty."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Its rows, from the first one at every call, in batches of ``schema``.

        Read lazily: what is held in memory does not grow with the input. A batch has at most BATCH_ROWS rows and,
        save where one row alone has more, BATCH_BYTES bytes; it has at least one row.

        Raises:
            SourceError: The input cannot be read to its end, or has no rows.
        """
        ...

    def fingerprint(self) -> str:
        """xxh3 of everything that the rows come from, as hexadecimal digits."""
        ...


@contextmanager
def reading(path: str, remedy: str = "") -> Iterator[None]:
    """Turn what a library says of a damaged input into a SourceError that names the input."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error, LookupError, tarfile.TarError) as error:
        raise SourceError(f"cannot be read: {first_line(error)}.", path, remedy or _remedy(error)) from error
    except (zlib.error, lzma.LZMAError) as error:
        raise SourceError(f"cannot be decompressed: {first_line(error)}.", path, _WHOLE) from error


def first_line(error: Exception) -> str:
    """What an error says, as a part of a sentence; of files that are named anyway, the cause alone."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.splitlines()[0].rstrip(".")
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


_WHOLE = "Check that the file is whole and of the type that its ending says."


def _remedy(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, FileNotFoundError):
        return "It was there or is named by another file: bring it back, or leave the input out."
    if isinstance(error, UnicodeError) or "utf8" in text or "utf-8" in text:
        return "If it is not in UTF-8, name its encoding, such as --encoding latin-1."
    if "straddling object" in text:
        return "A row is longer than 2 MiB: close a quote that is left open, or give the rows as Parquet or JSON Lines."
    if "csv parse error" in text:
        return "Mend that line, or give --delimiter if the cells are separated by something else."
    return _WHOLE


def check_names(path: str, schema: pa.Schema, remedy: str = "Rename it.") -> pa.Schema:
    """Return a schema whose names are distinct and not empty.

    Raises:
        SourceError: They are not.
    """
    names = schema.names
    for name in names:
        if not name.strip():
            raise SourceError(f"column {names.index(name) + 1} has no name.", path, remedy)
        if names.count(name) > 1:
            raise SourceError(f"{names.count(name)} columns have the name '{name}'.", path, remedy)
    return schema


def not_empty(path: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches that have rows.

    Raises:
        SourceError: There was none.
    """
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        if batch.num_rows:
            yield batch
    if not rows:
        raise SourceError("there are no rows in it.", path, "Leave it out.")


def cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch as batches of a size that is allowed, without copying."""
    if batch.num_rows > BATCH_ROWS:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield from cut(batch.slice(start, BATCH_ROWS))
    elif batch.num_rows > 1 and batch.nbytes > BATCH_BYTES:
        half = batch.num_rows // 2
        yield from cut(batch.slice(0, half))
        yield from cut(batch.slice(half))
    else:
        yield batch


def hash_file(hasher: xxhash.xxh3_64, path: str) -> None:
    """Feed the bytes of a file to a hash."""
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)


def files_fingerprint(*paths: str) -> str:
    """xxh3 of the bytes of files, one after the other, and of their lengths.

    Raises:
        SourceError: One cannot be read.
    """
    hasher = xxhash.xxh3_64()
    for path in paths:
        with reading(path):
            hasher.update(Path(path).stat().st_size.to_bytes(8, "little"))
            hash_file(hasher, path)
    return hasher.hexdigest()
