"""Putting a source into a store: everything else first, the manifest last, and nothing if anything fails."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from distmtl.data.footer import override, template
from distmtl.data.ingest.write import ShardRecord
from distmtl.data.manifest import (
    BLOCKS_SCHEMA,
    LATEST_KEY,
    Manifest,
    Shard,
    blocks_to_bytes,
    manifest_from_bytes,
    manifest_key,
    manifest_to_bytes,
)
from distmtl.data.source import Source
from distmtl.errors import DistmtlError, SourceError
from distmtl.store.address import TEMPORARY
from distmtl.store.base import Store

_OURS = re.compile(r"^(shards/[0-9a-f]{2}/[\w-]+\.parquet|blocks-[0-9a-f]+\.arrow|manifest(-[0-9a-f]+)?\.json)$")
"""Keys of a source; other objects at its URI are left alone."""

_MANIFEST = re.compile(r"^manifest(-[0-9a-f]+)?\.json$")


class Publication:
    """A source that is being written; leaving the ``with`` block without a commit removes what was written.

    Args:
        store: Where it is put.
        overwrite: Whether it may replace a source.
        base: The source whose rows come before the new ones, or None.

    Raises:
        SourceError: There is a source already, and it is to be neither replaced nor appended to.
    """

    def __init__(self, store: Store, *, overwrite: bool, base: Source | None = None) -> None:
        self.shards: list[Shard] = [] if base is None else list(base.manifest.shards)
        self._store = store
        self._base = base
        self._mine: set[str] = set()
        self._blocks: dict[str, list[dict[str, object]]] = {}
        self._committed = False
        if not overwrite and base is None and store.size(LATEST_KEY) is not None:
            raise SourceError(
                "there is a source here already.", store.uri, "Give another --out, or use --overwrite or --append."
            )

    def __enter__(self) -> Self:
        self._before = self._keys()
        self._referenced = self._keys_of_versions() if self._before else set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._committed:
            return
        try:
            # Nothing but its own: another process may have appended in the meantime.
            self._store.delete(self._mine - self._referenced)
        except DistmtlError as failure:
            if error is None:
                raise
            error.add_note(f"What was written could not be removed: {failure}")

    def announce(self, keys: Sequence[str]) -> None:
        """Say which keys will be written, some of them perhaps by a process that was killed."""
        self._mine |= set(keys)

    def add(self, record: ShardRecord, schema: pa.Schema) -> None:
        """Take a shard that was written; those of a split come in order."""
        number = len(self.shards)
        self.shards.append(record.shard)
        # Appended rows may have nulls where the first ones have none.
        own = template(schema)
        prefix = b"" if self._base is None or own == self._base.template else override(own)
        self._blocks.setdefault(record.shard.split, []).extend(
            {
                "split": record.shard.split,
                "shard": number,
                "offset": place.offset,
                "length": place.length,
                "rows": place.rows,
                "xxh3": place.xxh3,
                "row_group": prefix + place.row_group,
            }
            for place in record.places
        )

    def write_blocks(self, schema: pa.Schema, splits: Mapping[str, object]) -> str:
        """Write the blocks table of splits in this order; returns its key."""
        tables = []
        for split in splits:
            if self._base is not None and split in self._base.manifest.splits:
                tables.append(self._base.split(split).table.replace_schema_metadata(None))
            tables.append(pa.Table.from_pylist(self._blocks.get(split, []), schema=BLOCKS_SCHEMA))
        shared = template(schema) if self._base is None else self._base.template
        key, data = blocks_to_bytes(pa.concat_tables(tables), shared)
        self._mine.add(key)
        self._store.put(key, data)
        return key

    def commit(self, manifest: Manifest) -> Manifest:
        """Make the version exist, and remove the source that it replaces.

        Raises:
            SourceError: Somebody else appended to the source in between.
        """
        data = manifest_to_bytes(manifest)
        own = manifest_key(manifest.digest)
        self._check_base()
        self._mine.add(own)
        self._store.put(own, data)
        self._store.put(LATEST_KEY, data)
        self._committed = True
        kept = {LATEST_KEY, own, manifest.blocks_key, *(shard.key for shard in self.shards)}
        self._store.delete(self._before - kept - (self._referenced if self._base is not None else set()))
        self._sweep()
        return manifest

    def _sweep(self) -> None:
        """Remove the halves of shards that killed packs have left in a folder, where no listing shows them."""
        folder = Path(self._store.uri)
        for left in folder.glob(f"shards/*/{TEMPORARY}*") if folder.is_absolute() else ():
            left.unlink(missing_ok=True)

    def _check_base(self) -> None:
        if self._base is None:
            return
        latest = manifest_from_bytes(self._store.get(LATEST_KEY), f"{self._store.uri}/{LATEST_KEY}")
        if latest.digest != self._base.manifest.digest:
            raise SourceError(
                "another process has changed the source in the meantime.", self._store.uri, "Append the files again."
            )

    def _keys(self) -> set[str]:
        return {entry.key for entry in self._store.list() if _OURS.match(entry.key)}

    def _keys_of_versions(self) -> set[str]:
        """Every key that a version of the source needs; all keys, where a manifest cannot be read."""
        found: set[str] = set()
        for key in sorted(key for key in self._before if _MANIFEST.match(key)):
            try:
                manifest = manifest_from_bytes(self._store.get(key), f"{self._store.uri}/{key}")
            except SourceError:
                return set(self._before)
            found |= {key, manifest.blocks_key, *(shard.key for shard in manifest.shards)}
        return found
