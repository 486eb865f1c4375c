"""Fetching a block's bytes from a store: one ranged read, compared with its hash.

What a failure means is told apart, because different people mend it: the store does not answer (StoreError), the whole
source is gone (SourceError), or bytes of a source that is there are missing or wrong (CorruptBlockError), which is the
one failure that a run may be told to live with.
"""

import time
from dataclasses import dataclass

import xxhash

from distmtl.data.manifest import Shard, manifest_key
from distmtl.errors import CorruptBlockError, SourceError, StoreError
from distmtl.store import Store

ATTEMPTS = 2
"""How often bytes are fetched that turn out wrong: a bit may have flipped on the way."""

PAUSE_S = 0.2
"""Seconds before they are fetched again."""


@dataclass(frozen=True)
class BlockPlace:
    """Where a block is and what its bytes hash to.

    Attributes:
        split: Its split.
        block: Its number there.
        shard: The file that holds it.
        offset: Its first byte in that file.
        length: Its bytes.
        xxh3: Hash of these.
    """

    split: str
    block: int
    shard: Shard
    offset: int
    length: int
    xxh3: int

    @property
    def text(self) -> str:
        """All of it, for messages."""
        return (
            f"block {self.block} of split '{self.split}' "
            f"(shard {self.shard.key}, bytes {self.offset} to {self.offset + self.length})"
        )


def fetch_block(store: Store, place: BlockPlace, digest: str, *, view: bool = False) -> memoryview:
    """The bytes of a block, straight from the store.

    Args:
        store: The source's store.
        place: The block.
        digest: The version of the source, by which it is told whether the source is there at all.
        view: Whether the bytes may stay on the disk where they are.

    Raises:
        CorruptBlockError: They do not match their hash or the shard is missing or cut short, twice in a row.
        SourceError: Nothing is left of the source.
        StoreError: The store cannot be read.
    """
    problem = ""
    read = store.view_range if view else store.get_range
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S)
        try:
            data = read(place.shard.key, place.offset, place.length)
        except StoreError as error:
            problem = _missing(store, place, digest, error)
            continue
        if xxhash.xxh3_64_intdigest(data) == place.xxh3:
            return data
        problem = "does not match its checksum"
    raise CorruptBlockError(
        f"{place.text} {problem}.",
        store.uri,
        f"Run 'distmtl source {store.uri} --verify' and pack the source again, or let the run do without the block: "
        "train.quarantine.",
    )


def _missing(store: Store, place: BlockPlace, digest: str, error: StoreError) -> str:
    """What is wrong with a shard that could not be read; raises where it is not the shard."""
    size = store.size(place.shard.key)  # raises if the store does not answer
    if size is None:
        if store.size(manifest_key(digest)) is None:
            raise SourceError(
                f"the source is gone: there is neither shard {place.shard.key} nor the manifest of version {digest}.",
                store.uri,
                "It was moved, deleted or unmounted since the run began; put it back and start the run again.",
            ) from error
        return "is lost: the shard is missing"
    if size < place.offset + place.length:
        return f"is lost: the shard has {size} bytes instead of {place.shard.bytes}"
    raise error
