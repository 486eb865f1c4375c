"""Opening a source and reading its blocks, each by one ranged GET whose bytes are checked against their hash.

Blocks of a remote source may come from a cache on the node's disk; see :mod:`distmtl.data.node_cache`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distmtl.data.fetch import BlockPlace, fetch_block
from distmtl.data.footer import read_block
from distmtl.data.infer import nearest
from distmtl.data.manifest import (
    LATEST_KEY,
    Column,
    Manifest,
    Shard,
    SplitInfo,
    blocks_from_bytes,
    manifest_from_bytes,
    manifest_key,
)
from distmtl.data.node_cache import NodeCache
from distmtl.data.tensors import WIDE_ROW_BYTES, TensorLayout
from distmtl.errors import KeyMissingError, SourceError
from distmtl.store import Store, is_remote, open_store


@dataclass(frozen=True, eq=False)
class Source:
    """One version of a source; pickling it keeps its URI, digest and cache, and opens it again.

    Attributes:
        uri: Where it is.
        manifest: What it holds.
        store: The store at ``uri``.
        blocks: The blocks table of all splits.
        template: The Parquet footer that all blocks share; see :mod:`distmtl.data.footer`.
        cache: Where blocks are kept on this node, or None.
    """

    uri: str
    manifest: Manifest
    store: Store
    blocks: pa.Table
    template: bytes
    cache: NodeCache | None = None

    def split(self, name: str) -> "Split":
        """A split by name.

        Raises:
            SourceError: There is none of this name.
        """
        if name not in self.manifest.splits:
            raise SourceError(
                f"there is no split '{name}'; there are: {', '.join(self.manifest.splits)}.",
                self.uri,
                "Name one of them.",
            )
        mine = np.flatnonzero(self.blocks["split"].to_numpy() == name)
        first = int(mine[0]) if mine.size else 0
        return Split(self, name, self.blocks.slice(first, mine.size).combine_chunks())

    def column(self, name: str) -> Column:
        """A column by name.

        Raises:
            SourceError: There is none of this name; the nearest name is offered.
        """
        column = self._columns.get(name)
        if column is None:
            raise SourceError(f"there is no column '{name}'.", self.uri, nearest(name, self._columns))
        return column

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {column.name: column for column in self.manifest.columns}

    def __reduce__(self) -> tuple[Any, ...]:
        return open_source, (self.uri, self.manifest.digest, self.cache)


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, in blocks of ``block_rows`` rows of which the last may be short.

    Attributes:
        source: Its source.
        name: Its name.
        table: Its part of the blocks table.
    """

    source: Source
    name: str
    table: pa.Table

    @property
    def info(self) -> SplitInfo:
        """Its size and statistics."""
        return self.source.manifest.splits[self.name]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.info.rows

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.info.blocks

    @property
    def block_rows(self) -> int:
        """Rows of a block that is not short: a power of two."""
        return self.source.manifest.block_rows

    @cached_property
    def block_row_counts(self) -> npt.NDArray[np.int64]:
        """Rows of each block ``[blocks]``."""
        counts: npt.NDArray[np.int64] = self._places["rows"].astype(np.int64)
        return counts

    @cached_property
    def short_blocks(self) -> tuple[tuple[int, int], ...]:
        """(block, its rows) of every block with fewer than ``block_rows`` rows."""
        short = np.flatnonzero(self.block_row_counts < self.block_rows)
        return tuple((int(block), int(self.block_row_counts[block])) for block in short)

    def read_block(self, index: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of a block, in its row order.

        Args:
            index: The block, from 0 to ``blocks - 1``.
            columns: Names of the columns, in the order wanted.

        Raises:
            CorruptBlockError: The block's bytes are missing or do not match their hash, nor do they when fetched anew.
            SourceError: There is no such column, or the whole source is gone.
            StoreError: The store cannot be read.
        """
        for name in columns:
            self.source.column(name)
        data = self._fetch(index)
        return read_block(data, self.source.template, self._row_groups[index].as_py(), columns)

    def _fetch(self, index: int) -> Any:
        """The bytes of a block: from this node's cache if there is one, else from the store."""
        place, source = self.place(index), self.source
        fetch = partial(fetch_block, source.store, place, source.manifest.digest, view=self._is_wide)
        return fetch() if source.cache is None else source.cache.get(place.xxh3, place.length, fetch)

    @cached_property
    def _is_wide(self) -> bool:
        """Whether rows are so large that a copy of the block costs more than a call per row."""
        columns = self.source.manifest.columns
        return any(
            column.kind == "tensor" and TensorLayout(column.dtype, column.shape).bytes >= WIDE_ROW_BYTES
            for column in columns
        )

    def place(self, index: int) -> BlockPlace:
        """Where a block is."""
        if not 0 <= index < self.blocks:
            raise IndexError(f"block {index} of split '{self.name}', which has {self.blocks}")
        offset, length, xxh3 = (int(self._places[name][index]) for name in ("offset", "length", "xxh3"))
        return BlockPlace(self.name, index, self.shard(index), offset, length, xxh3)

    def shard(self, index: int) -> Shard:
        """The shard that holds a block."""
        return self.source.manifest.shards[int(self._places["shard"][index])]

    @cached_property
    def shards(self) -> npt.NDArray[np.int32]:
        """Index in the manifest of the shard that holds each block ``[blocks]``."""
        numbers: npt.NDArray[np.int32] = self._places["shard"]
        return numbers

    @cached_property
    def _places(self) -> dict[str, npt.NDArray[Any]]:
        return {name: self.table[name].to_numpy() for name in ("shard", "offset", "length", "rows", "xxh3")}

    @cached_property
    def _row_groups(self) -> Any:
        return self.table["row_group"].combine_chunks() if self.blocks else pa.array([], pa.binary())

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_split, (self.source, self.name)


def open_source(uri: str, digest: str | None = None, cache: NodeCache | None = None) -> Source:
    """Open a source: two small reads, of its manifest and of its blocks table.

    Args:
        uri: Its folder or URI.
        digest: The version to open; by default the newest.
        cache: Where this node keeps blocks, if the source is not on it anyway.

    Raises:
        SourceError: There is no such source or version, or its manifest or blocks table is damaged.
        StoreError: The store cannot be read.
    """
    store = open_store(uri)
    key = LATEST_KEY if digest is None else manifest_key(digest)
    try:
        data = store.get(key)
    except KeyMissingError as error:
        raise _no_source(store, digest) from error
    where = f"{store.uri}/{key}"
    manifest = manifest_from_bytes(data, where)
    if digest is not None and manifest.digest != digest:
        raise SourceError(f"the manifest has the digest {manifest.digest}.", where, "Pack the source again.")
    try:
        table = store.get(manifest.blocks_key)
    except KeyMissingError as error:
        raise SourceError(
            "the blocks table is missing.", f"{store.uri}/{manifest.blocks_key}", "Pack the source again."
        ) from error
    blocks, template = blocks_from_bytes(table, manifest.blocks_key, store.uri)
    return Source(store.uri, manifest, store, blocks, template, cache if is_remote(store.uri) else None)


def _open_split(source: Source, name: str) -> Split:
    return source.split(name)


def _no_source(store: Store, digest: str | None) -> SourceError:
    if store.size(LATEST_KEY) is None:
        return SourceError("there is no source here.", store.uri, f"Pack one: distmtl pack FILES --out {store.uri}")
    return SourceError(
        f"there is no version {digest} of this source; it was packed again since.",
        store.uri,
        "Start a new run with it.",
    )
