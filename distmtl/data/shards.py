"""Writing the rows of a split as blocks in shards, and what the blocks table says of them."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from distmtl.data.footer import block_range, encode_row_group
from distmtl.data.manifest import Shard
from distmtl.store.base import Store, Writer

TARGET_BLOCK_BYTES = 8 * 2**20
"""Size of a block that its number of rows is chosen for."""

_WANTED_BLOCKS = 16
_PAGE_BYTES = 2**30
_SMALLEST_BLOCK = 1024


@dataclass(frozen=True)
class BlockPlace:
    """One row of the blocks table, without its shard."""

    offset: int
    length: int
    rows: int
    xxh3: int
    row_group: bytes


def choose_block_rows(row_bytes: int, rows: int) -> int:
    """Rows of a block: a power of two that makes it 4 to 8 MiB.

    A small source gets smaller blocks, down to 1,024 rows, so that several workers can share its reading: a lane reads
    whole blocks, and there are no more lanes than blocks.

    Args:
        row_bytes: Bytes of one row in memory.
        rows: Rows of the largest split.
    """
    by_size = max(1, TARGET_BLOCK_BYTES // max(1, row_bytes))
    by_count = max(_SMALLEST_BLOCK, rows // _WANTED_BLOCKS)
    return 1 << (min(by_size, by_count, 2**24).bit_length() - 1)


def shard_key(split: str, number: int, identity: str) -> str:
    """Key of a shard; its first folder spreads shards over the prefixes of an object store."""
    spread = xxhash.xxh3_64_intdigest(f"{identity}/{split}/{number}".encode()) & 0xFF
    return f"shards/{spread:02x}/{split}-{number:05d}-{identity}.parquet"


def write_shard(
    store: Store, key: str, split: str, schema: pa.Schema, blocks: Iterable[pa.RecordBatch], compression: str
) -> tuple[Shard, list[BlockPlace]]:
    """Write blocks as one shard; returns it and where each block went."""
    with store.writer(key) as target:
        sink, written = _HashingSink(target), _WrittenBlocks()
        with _parquet(sink, schema, compression, written.metadata) as parquet:
            for block in blocks:
                written.offsets.append(sink.begin_block())
                parquet.write_table(pa.Table.from_batches([block]), row_group_size=max(1, block.num_rows))
                written.hashes.append(sink.block_hash())
        places = written.places()
    return Shard(key, split, sum(place.rows for place in places), sink.position, sink.file_hash()), places


def _parquet(sink: io.RawIOBase, schema: pa.Schema, compression: str, metadata: list[Any]) -> pq.ParquetWriter:
    # No dictionary pages: see footer.block_range. No statistics: nobody filters a block by them. One page per column:
    # see distmtl.data.pages.
    return pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_dictionary=False,
        data_page_size=_PAGE_BYTES,
        write_statistics=False,
        write_page_checksum=True,
        metadata_collector=metadata,
    )


@dataclass
class _WrittenBlocks:
    """Offset and hash of each block of a shard as they were written, and in the end the shard's footer."""

    offsets: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    metadata: list[Any] = field(default_factory=list)

    def places(self) -> list[BlockPlace]:
        footer = self.metadata[0]
        found = []
        for i, (start, xxh3) in enumerate(zip(self.offsets, self.hashes, strict=True)):
            group = footer.row_group(i)
            offset, length = block_range(group)
            if offset != start:
                raise ValueError(f"block {i} begins at byte {offset}, but was hashed from byte {start} on")
            found.append(BlockPlace(offset, length, group.num_rows, xxh3, encode_row_group(group)))
        return found


class _HashingSink(io.RawIOBase):
    """Passes bytes on to the store's writer, and hashes the file and each block on their way."""

    def __init__(self, target: Writer) -> None:
        super().__init__()
        self.position = 0
        self.footer = bytearray()
        self._target = target
        self._file = xxhash.xxh3_64()
        self._block = xxhash.xxh3_64()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.update(view)
        self._block.update(view)
        self._target.write(view)
        self.position += len(view)
        return len(view)

    def begin_block(self) -> int:
        self._block.reset()
        return self.position

    def block_hash(self) -> int:
        return self._block.intdigest()

    def file_hash(self) -> str:
        return self._file.hexdigest()
