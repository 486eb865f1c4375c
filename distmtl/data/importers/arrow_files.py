"""Parquet, Arrow IPC and Feather files, batch by batch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distmtl.data.importers.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    check_names,
    files_fingerprint,
    not_empty,
    reading,
)
from distmtl.data.importers.plain import Plain

Opener = Callable[[str], AbstractContextManager[tuple[pa.Schema, Iterator[pa.RecordBatch]]]]
"""Opens a file; gives its schema and its batches, of any size."""

_BUFFER = 2**20
"""Bytes of a column chunk that are read at a time: a row group need not fit into memory."""


@dataclass(frozen=True)
class TypedFile:
    """A file whose columns have types.

    Attributes:
        path: It.
        open: What opens a file of its format.
        drop: Columns that come out as nulls.
    """

    path: str
    open: Opener
    drop: tuple[str, ...] = ()
    text: bool = False

    @property
    def notes(self) -> tuple[str, ...]:  # noqa: D102
        return self._plain.notes

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        return check_names(self.path, self._plain.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, self._batches())

    def fingerprint(self) -> str:  # noqa: D102
        return files_fingerprint(self.path)

    @cached_property
    def _plain(self) -> Plain:
        with self.open(self.path) as (schema, _):
            return Plain.of(schema, self.path, self.drop)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        plain, _ = self._plain, self.schema
        with self.open(self.path) as (_, batches):
            yield from plain.stream(batches)


@contextmanager
def open_parquet(path: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the batches of a Parquet file, of which no row group is read whole.

    Raises:
        SourceError: It cannot be read.
    """
    with reading(path), pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        groups = ((group, _rows_at_a_time(file.metadata.row_group(group))) for group in range(file.num_row_groups))
        yield file.schema_arrow, (batch for group, rows in groups for batch in file.iter_batches(rows, [group]))


def _rows_at_a_time(group: Any) -> int:
    """Rows of a row group that fit a batch, by the size that its metadata state."""
    width = max(1, group.total_byte_size // max(1, group.num_rows))
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES // width)))


@contextmanager
def open_arrow(path: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the batches of an IPC file or stream, which is mapped into memory and not read whole.

    Raises:
        SourceError: It is neither, or cannot be read.
    """
    with reading(path), pa.memory_map(path) as file:
        try:
            whole = pa.ipc.open_file(file)
        except pa.ArrowInvalid:
            file.seek(0)
            stream = pa.ipc.open_stream(file)
            yield stream.schema, iter(stream)
            return
        yield whole.schema, (whole.get_batch(i) for i in range(whole.num_record_batches))
