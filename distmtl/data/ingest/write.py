"""The last stage: the rows of each split in the order of their keys, as blocks in shards.

Which blocks a shard has is known before the first one is written, so that threads write several at once, and a shard
that an earlier process has finished is checked and kept.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from distmtl.data.ingest.parallel import Cancelled, in_order
from distmtl.data.ingest.progress import Meter
from distmtl.data.ingest.spill import Pieces, RunStore, one_batch, sorted_piece
from distmtl.data.ingest.work import WorkFolder
from distmtl.data.manifest import Shard
from distmtl.data.shards import BlockPlace, shard_key, write_shard
from distmtl.errors import KeyMissingError
from distmtl.store.base import Store

_READ = 8 * 2**20


@dataclass(frozen=True)
class Layout:
    """How rows become shards.

    Attributes:
        splits: Names of the splits, by number.
        schema: Columns of a shard.
        tables: The id of each number of a word, the id of null last, by categorical column.
        pieces: How the rows are cut into pieces.
        block_rows: Rows of a block.
        shard_blocks: Blocks of a shard.
    """

    splits: tuple[str, ...]
    schema: pa.Schema
    tables: Mapping[str, npt.NDArray[np.int32]]
    pieces: Pieces
    block_rows: int
    shard_blocks: int


@dataclass(frozen=True)
class ShardTask:
    """A shard to write: rows ``first`` to ``last`` of a split in the order of their keys."""

    key: str
    split: int
    first: int
    last: int


@dataclass(frozen=True)
class ShardRecord:
    """A shard that was written, and where its blocks are."""

    shard: Shard
    places: tuple[BlockPlace, ...]

    def to_text(self) -> str:
        """As JSON."""
        places = [asdict(place) | {"row_group": place.row_group.hex()} for place in self.places]
        return json.dumps({"shard": asdict(self.shard), "places": places})

    @classmethod
    def from_text(cls, text: str) -> "ShardRecord":
        """What :meth:`to_text` gave."""
        value = json.loads(text)
        places = [item | {"row_group": bytes.fromhex(item["row_group"])} for item in value["places"]]
        return cls(Shard(**value["shard"]), tuple(BlockPlace(**item) for item in places))


def shard_tasks(layout: Layout, rows: Sequence[int], identity: str) -> list[ShardTask]:
    """The shards of splits with so many ``rows``."""
    step = layout.block_rows * layout.shard_blocks
    return [
        ShardTask(shard_key(layout.splits[split], number, identity), split, first, min(first + step, count))
        for split, count in enumerate(rows)
        for number, first in enumerate(range(0, count, step))
    ]


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards into a store, and keeps a record of each in the work folder, if there is one."""

    store: Store
    runs: RunStore
    layout: Layout
    compression: str
    work: WorkFolder | None
    meter: Meter

    def write_all(self, tasks: Sequence[ShardTask], threads: int) -> Iterator[ShardRecord]:
        """Write the shards; returns their records in order."""
        return in_order(self._finished, tasks, threads)

    def _finished(self, task: ShardTask, stop: Event) -> ShardRecord:
        name = task.key.rsplit("/", 1)[-1] + ".json"
        text = None if self.work is None else self.work.load(name)
        if text is not None:
            record = ShardRecord.from_text(text)
            if is_intact(self.store, record.shard):
                self.meter.add(record.shard.rows)
                return record
        shard, places = write_shard(
            self.store, task.key, self.layout.splits[task.split], self.layout.schema, self._blocks(task, stop),
            self.compression,
        )  # fmt: skip
        record = ShardRecord(shard, tuple(places))
        if self.work is not None:
            self.work.save(name, record.to_text())
        return record

    def _blocks(self, task: ShardTask, stop: Event) -> Iterator[pa.RecordBatch]:
        """The rows of a shard, a block at a time."""
        parts: list[pa.RecordBatch] = []
        waiting, left = 0, task.last - task.first
        for batch in self._rows(task):
            rest = batch
            while rest.num_rows:
                if stop.is_set():
                    raise Cancelled
                want = min(self.layout.block_rows, left) - waiting
                parts.append(rest.slice(0, want))
                waiting += parts[-1].num_rows
                rest = rest.slice(want)
                if waiting == min(self.layout.block_rows, left):
                    yield one_batch(pa.Table.from_batches(parts))
                    self.meter.add(waiting)
                    left -= waiting
                    parts, waiting = [], 0

    def _rows(self, task: ShardTask) -> Iterator[pa.RecordBatch]:
        start = 0
        for piece in self.layout.pieces.of_split(task.split):
            count = self.runs.rows_of(piece)
            first, last = max(task.first - start, 0), min(task.last - start, count)
            start += count
            if first < last:
                rows = sorted_piece(self.runs, piece)
                if rows is not None:
                    yield self._stored(rows.slice(first, last - first))
            if start >= task.last:
                return

    def _stored(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Numbers of words become ids, and the keys go."""
        columns: list[Any] = []
        for array, field in zip(rows.columns, self.layout.schema, strict=False):
            table = self.layout.tables.get(field.name)
            columns.append(array if table is None else pa.array(table[array.to_numpy()]))
        return pa.RecordBatch.from_arrays(columns, schema=self.layout.schema)


def is_intact(store: Store, shard: Shard) -> bool:
    """Whether the bytes of a shard are in the store as they were written."""
    try:
        if store.size(shard.key) != shard.bytes:
            return False
        found = xxhash.xxh3_64()
        for start in range(0, shard.bytes, _READ):
            found.update(store.get_range(shard.key, start, min(_READ, shard.bytes - start)))
    except KeyMissingError:
        return False
    return found.hexdigest() == shard.xxh3
