"""Rows on their way to their places: sorted by piece in memory, in runs on disk, and read back piece by piece.

A piece is the part of a split whose keys fall into one range, small enough to be sorted in memory. A run is a file with
the rows of many pieces, each as one Arrow IPC message; the index says where they are and what they hash to.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, local
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from distmtl.errors import SourceError

KEY = "key"
"""Name of the last column of spilled rows, their keys; another column may have this name, too."""


@dataclass(frozen=True)
class Pieces:
    """How rows are cut into pieces.

    Attributes:
        splits: Number of splits.
        rows: Keys are less than this.
        piece_rows: A piece has the keys of a range as long as this.
    """

    splits: int
    rows: int
    piece_rows: int

    @property
    def per_split(self) -> int:
        """Pieces of one split."""
        return -(-self.rows // self.piece_rows)

    def of(self, split: int, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The piece of each row ``[N]`` of a split."""
        return split * self.per_split + keys // self.piece_rows

    def of_split(self, split: int) -> range:
        """The pieces of a split, in the order of their keys."""
        return range(split * self.per_split, (split + 1) * self.per_split)


class RunStore(Protocol):
    """Where the sorted parts of pieces are kept."""

    def put(self, parts: Sequence[tuple[int, pa.RecordBatch]]) -> None:
        """Keep parts of pieces; threads may do so at once."""
        ...

    def rows_of(self, piece: int) -> int:
        """Rows of a piece."""
        ...

    def load(self, piece: int) -> list[pa.RecordBatch]:
        """The parts of a piece, in no particular order."""
        ...


class MemoryRuns:
    """Parts in memory, for small inputs."""

    def __init__(self) -> None:
        self._parts: dict[int, list[pa.RecordBatch]] = {}
        self._lock = Lock()

    def put(self, parts: Sequence[tuple[int, pa.RecordBatch]]) -> None:
        """See ``RunStore``."""
        with self._lock:
            for piece, batch in parts:
                self._parts.setdefault(piece, []).append(batch)

    def rows_of(self, piece: int) -> int:
        """See ``RunStore``."""
        return sum(batch.num_rows for batch in self._parts.get(piece, []))

    def load(self, piece: int) -> list[pa.RecordBatch]:
        """See ``RunStore``."""
        return self._parts.get(piece, [])


_INDEX = ("run", "offset", "length", "rows", "xxh3")


class DiskRuns:
    """Parts in files of a folder."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._index: dict[int, list[tuple[int, int, int, int, int]]] = {}
        self._runs = 0
        self._lock = Lock()

    def put(self, parts: Sequence[tuple[int, pa.RecordBatch]]) -> None:
        """See ``RunStore``.

        Raises:
            SourceError: The disk is full.
        """
        with self._lock:
            run = self._runs
            self._runs += 1
        found = []
        offset = 0
        with writing(self._folder), self._path(run).open("wb") as file:
            for piece, batch in parts:
                data = memoryview(batch.serialize())
                file.write(data)
                found.append((piece, (run, offset, len(data), batch.num_rows, xxhash.xxh3_64_intdigest(data))))
                offset += len(data)
        with self._lock:
            for piece, place in found:
                self._index.setdefault(piece, []).append(place)

    def rows_of(self, piece: int) -> int:
        """See ``RunStore``."""
        return sum(rows for _, _, _, rows, _ in self._index.get(piece, []))

    def load(self, piece: int) -> list[pa.RecordBatch]:
        """See ``RunStore``.

        Raises:
            SourceError: The folder was changed by somebody else.
        """
        return [self._read(*place) for place in self._index.get(piece, [])]

    def save(self) -> str:
        """The index as a line of text."""
        return json.dumps({"runs": self._runs, "pieces": sorted(self._index.items())})

    def restore(self, text: str) -> None:
        """Take the index that :meth:`save` gave."""
        value = json.loads(text)
        self._runs = value["runs"]
        self._index = {piece: [tuple(place) for place in places] for piece, places in value["pieces"]}

    def _read(self, run: int, offset: int, length: int, rows: int, xxh3: int) -> pa.RecordBatch:  # noqa: ARG002
        try:
            with self._path(run).open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), length, offset)
        except OSError as error:
            raise _damaged(self._path(run)) from error
        if len(data) != length or xxhash.xxh3_64_intdigest(data) != xxh3:
            raise _damaged(self._path(run))
        return pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)

    def _path(self, run: int) -> Path:
        return self._folder / f"{run:06d}.run"


def _damaged(path: Path) -> SourceError:
    return SourceError(
        "the work folder was damaged while it was in use.", str(path.parent), "Remove it, and pack again."
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system into one that names the work folder."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"the work folder cannot be written: {error.strerror or error}.",
            str(folder),
            "Free some space or correct its rights, or give another folder with --work.",
        ) from error


class Sorter:
    """Collects rows and puts them into a store in runs, sorted by piece; every thread has a run of its own.

    Args:
        store: Where the runs go.
        run_bytes: A run that has reached this size is put.
    """

    def __init__(self, store: RunStore, run_bytes: int) -> None:
        self._store = store
        self._run_bytes = run_bytes
        self._mine = local()
        self._all: list[_Run] = []
        self._lock = Lock()

    def add(self, batch: pa.RecordBatch, pieces: npt.NDArray[np.int64]) -> None:
        """Take rows, and the piece of each."""
        run = getattr(self._mine, "run", None)
        if run is None:
            run = self._mine.run = _Run()
            with self._lock:
                self._all.append(run)
        run.batches.append(batch)
        run.pieces.append(pieces)
        run.bytes += batch.nbytes
        if run.bytes >= self._run_bytes:
            run.flush(self._store.put)

    def finish(self) -> None:
        """Put what is left; no thread may add any more."""
        for run in self._all:
            run.flush(self._store.put)


class _Run:
    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.pieces: list[npt.NDArray[np.int64]] = []
        self.bytes = 0

    def flush(self, put: Callable[[Sequence[tuple[int, pa.RecordBatch]]], None]) -> None:
        if not self.batches:
            return
        pieces = np.concatenate(self.pieces)
        table = pa.Table.from_batches(self.batches)
        self._clear()
        order = np.argsort(pieces, kind="stable")
        rows = one_batch(table.take(pa.array(order)))
        pieces = pieces[order]
        starts = np.flatnonzero(np.concatenate([[True], pieces[1:] != pieces[:-1]]))
        ends = np.append(starts[1:], len(pieces))
        put([(int(pieces[a]), rows.slice(a, b - a)) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch."""
    columns = [_one_array(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _one_array(column: pa.ChunkedArray) -> Any:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def sorted_piece(store: RunStore, piece: int) -> pa.RecordBatch | None:
    """The rows of a piece in the order of their keys, or None where it has none."""
    parts = store.load(piece)
    if not parts:
        return None
    table = pa.Table.from_batches(parts)
    keys = table.column(table.num_columns - 1).to_numpy()
    if np.all(keys[1:] >= keys[:-1]):
        return one_batch(table)
    return one_batch(table.take(pa.array(np.argsort(keys, kind="stable"))))
