"""Putting a source into a store: everything else first, the manifest last, and nothing if anything fails."""

import re
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

from distmtl.data.footer import template
from distmtl.data.manifest import (
    BLOCKS_SCHEMA,
    LATEST_KEY,
    Manifest,
    Shard,
    blocks_to_bytes,
    manifest_key,
    manifest_to_bytes,
)
from distmtl.data.shards import BlockPlace, ShardOptions, write_split
from distmtl.errors import DistmtlError, SourceError
from distmtl.store.base import Store

_OURS = re.compile(r"^(shards/[0-9a-f]{2}/[\w-]+\.parquet|blocks-[0-9a-f]+\.arrow|manifest(-[0-9a-f]+)?\.json)$")
"""Keys of a source; other objects at its URI are left alone."""


class Publication:
    """A source that is being written; leaving the ``with`` block without a commit removes what was written.

    Raises:
        SourceError: There is a source already, and it is not to be overwritten.
    """

    def __init__(self, store: Store, *, overwrite: bool) -> None:
        self.shards: list[Shard] = []
        self._store = store
        self._blocks: list[tuple[str, BlockPlace]] = []
        self._committed = False
        if not overwrite and store.size(LATEST_KEY) is not None:
            raise SourceError("there is a source here already.", store.uri, "Give another --out, or use --overwrite.")

    def __enter__(self) -> Self:
        self._before = self._keys()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._committed:
            return
        try:
            self._store.delete(self._keys() - self._before)
        except DistmtlError as failure:
            if error is None:
                raise
            error.add_note(f"What was written could not be removed: {failure}")

    def write_split(
        self, split: str, identity: str, schema: pa.Schema, blocks: Iterator[pa.Table], options: ShardOptions
    ) -> int:
        """Write the blocks of a split; returns their number."""
        first = len(self.shards)
        shards, places = write_split(self._store, split, identity, schema, blocks, options)
        self.shards += shards
        self._blocks += [
            (split, BlockPlace(first + p.shard, p.offset, p.length, p.rows, p.xxh3, p.row_group)) for p in places
        ]
        return len(places)

    def write_blocks(self, schema: pa.Schema) -> str:
        """Write the blocks table; returns its key."""
        names = BLOCKS_SCHEMA.names[1:]
        columns = {"split": [split for split, _ in self._blocks]}
        columns |= {name: [getattr(place, name) for _, place in self._blocks] for name in names}
        key, data = blocks_to_bytes(pa.table(columns, schema=BLOCKS_SCHEMA), template(schema))
        self._store.put(key, data)
        return key

    def commit(self, manifest: Manifest) -> Manifest:
        """Make the source exist, and remove the one that it replaces."""
        data = manifest_to_bytes(manifest)
        own = manifest_key(manifest.digest)
        self._store.put(own, data)
        self._store.put(LATEST_KEY, data)
        self._committed = True
        kept = {LATEST_KEY, own, manifest.blocks_key, *(shard.key for shard in self.shards)}
        self._store.delete(self._before - kept)
        return manifest

    def _keys(self) -> set[str]:
        return {entry.key for entry in self._store.list() if _OURS.match(entry.key)}
