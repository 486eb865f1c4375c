"""Parquet, Arrow IPC and Feather files, batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distmtl.data.importers.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    check_names,
    cut,
    files_fingerprint,
    not_empty,
    reading,
)
from distmtl.data.importers.plain import Plain

_BUFFER = 2**20
"""Bytes of a column chunk that are read at a time: a row group need not fit into memory."""


@dataclass(frozen=True)
class ParquetInput:
    """A Parquet file."""

    path: str
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
        with self._open() as file:
            return Plain.of(file.schema_arrow, self.path, self.drop)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        plain, _ = self._plain, self.schema
        with self._open() as file:
            for group in range(file.num_row_groups):
                rows = _rows_at_a_time(file.metadata.row_group(group))
                for batch in file.iter_batches(rows, row_groups=[group]):
                    for part in cut(batch):
                        yield from cut(plain.apply(part))

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with reading(self.path), pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file


def _rows_at_a_time(group: Any) -> int:
    """Rows of a row group that fit a batch, by the size that its metadata state."""
    width = max(1, group.total_byte_size // max(1, group.num_rows))
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES // width)))


@dataclass(frozen=True)
class ArrowInput:
    """An Arrow IPC file or stream; a Feather file is one, too."""

    path: str
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
        with open_arrow(self.path) as (schema, _):
            return Plain.of(schema, self.path, self.drop)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        plain, _ = self._plain, self.schema
        with open_arrow(self.path) as (_, batches):
            for batch in batches:
                for part in cut(batch):
                    yield from cut(plain.apply(part))


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
