"""Checksums of files, block by block: so that a damaged one is named by place, and a part can be checked alone."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import xxhash

from distmtl.errors import CheckpointError
from distmtl.store import Store

BLOCK_BYTES = 8 * 2**20
"""Size of every block of a file but its last."""

_BLOCKS_IN_FLIGHT = 8


@dataclass(frozen=True)
class FileRecord:
    """A file as it was written: its size in bytes and the XXH3 of each of its blocks, 64 bits as hexadecimal digits."""

    size: int
    blocks: tuple[str, ...]


class BlockHasher:
    """Hashes a stream into the blocks of a ``FileRecord``."""

    def __init__(self) -> None:
        self._size = 0
        self._done: list[str] = []
        self._block = xxhash.xxh3_64()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    def update(self, data: memoryview) -> None:
        """Go on with these bytes."""
        while data:
            room = BLOCK_BYTES - self._size % BLOCK_BYTES
            self._block.update(data[:room])
            self._size += min(room, len(data))
            data = data[room:]
            if self._size % BLOCK_BYTES == 0:
                self._close()

    def finish(self) -> FileRecord:
        """The record of all bytes."""
        if self._size % BLOCK_BYTES:
            self._close()
        return FileRecord(self._size, tuple(self._done))

    def _close(self) -> None:
        self._done.append(self._block.hexdigest())
        self._block = xxhash.xxh3_64()


def read_blocks(
    store: Store, key: str, record: FileRecord, wanted: Collection[int]
) -> Iterator[tuple[int, memoryview]]:
    """Read blocks of a file and check them.

    Yields:
        The byte at which a block begins, and its bytes; in order.

    Raises:
        CheckpointError: The file is missing or cut short, or a block does not match its checksum.
    """
    numbers = sorted(wanted)
    if numbers and store.size(key) != record.size:
        raise CheckpointError(
            f"the file has {store.size(key)} bytes, and {record.size} were written.", f"{store.uri}/{key}", _REMEDY
        )
    for first in range(0, len(numbers), _BLOCKS_IN_FLIGHT):
        group = numbers[first : first + _BLOCKS_IN_FLIGHT]
        starts = [number * BLOCK_BYTES for number in group]
        found = store.get_ranges(key, [(start, min(BLOCK_BYTES, record.size - start)) for start in starts])
        for number, start, data in zip(group, starts, found, strict=True):
            if xxhash.xxh3_64_hexdigest(data) != record.blocks[number]:
                raise CheckpointError(
                    f"block {number} (bytes {start} to {start + len(data)}) does not match its checksum.",
                    f"{store.uri}/{key}",
                    _REMEDY,
                )
            yield start, data


_REMEDY = "Resume from an earlier checkpoint, or restore the file from a copy."
