"""Writing the rows of a split as blocks in shards, and what the blocks table says of them."""

import io
from collections.abc import Iterator
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
_SMALLEST_BLOCK = 1024


@dataclass(frozen=True)
class ShardOptions:
    """How shards are written.

    Attributes:
        block_rows: Rows of a block, a power of two.
        shard_bytes: A shard that has reached this size is closed.
        compression: ``lz4``, ``zstd`` or ``none``.
    """

    block_rows: int
    shard_bytes: int
    compression: str


@dataclass(frozen=True)
class BlockPlace:
    """One row of the blocks table, without its split; ``shard`` counts within the split."""

    shard: int
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


def write_split(
    store: Store, split: str, identity: str, schema: pa.Schema, blocks: Iterator[pa.Table], options: ShardOptions
) -> tuple[list[Shard], list[BlockPlace]]:
    """Write the blocks of a split, one table each, and return its shards and where each block went."""
    shards: list[Shard] = []
    places: list[BlockPlace] = []
    block = next(blocks, None)
    while block is not None:
        key = shard_key(split, len(shards), identity)
        with store.writer(key) as target:
            sink, written = _HashingSink(target), _WrittenBlocks()
            with _parquet(sink, schema, options.compression, written.metadata) as parquet:
                while block is not None and (not written.hashes or sink.position < options.shard_bytes):
                    written.offsets.append(sink.begin_block())
                    parquet.write_table(block, row_group_size=options.block_rows)
                    written.hashes.append(sink.block_hash())
                    block = next(blocks, None)
            found = written.places(len(shards))
        places += found
        shards.append(Shard(key, split, sum(place.rows for place in found), sink.position, sink.file_hash()))
    return shards, places


def _parquet(sink: io.RawIOBase, schema: pa.Schema, compression: str, metadata: list[Any]) -> pq.ParquetWriter:
    # No dictionary pages: see footer.block_range. No statistics: nobody filters a block by them.
    return pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_dictionary=False,
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

    def places(self, shard: int) -> list[BlockPlace]:
        footer = self.metadata[0]
        found = []
        for i, (start, xxh3) in enumerate(zip(self.offsets, self.hashes, strict=True)):
            group = footer.row_group(i)
            offset, length = block_range(group)
            if offset != start:
                raise ValueError(f"block {i} begins at byte {offset}, but was hashed from byte {start} on")
            found.append(BlockPlace(shard, offset, length, group.num_rows, xxh3, encode_row_group(group)))
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
