"""What a source is: its columns, splits, shards, blocks and statistics, under one digest.

A source is a folder of a store::

    shards/<xx>/<split>-<n>-<hash>.parquet   the rows; <xx> spreads the keys over the prefixes of an object store
    blocks-<hash>.arrow                      where each block is and what its bytes hash to
    manifest-<digest>.json                   a version of the source; names the two above, never changes
    manifest.json                            a copy of the newest version, written last: without it there is no source

The digest is a BLAKE2b hash over the canonical JSON of everything else in the manifest, the hash of the blocks table
and of every shard included, so one digest pins every byte of the source. A manifest file is its own canonical JSON,
byte for byte.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from distmtl.errors import SourceError

FORMAT = "distmtl-source"
VERSION = 1
LATEST_KEY = "manifest.json"

TRAIN = "train"
"""The split that statistics and vocabularies come from; every source has it."""

QUANTILES = 257
"""Quantiles kept of a numeric column: 256 equal shares of its train rows, so that a tail of 1 % still has some."""

VALUES_LIMIT = 1024
"""A numeric column keeps its distinct values, and a categorical one its counts outside train, up to this many."""

ColumnKind = Literal["numeric", "categorical", "tensor", "text", "bytes", "ragged"]

BLOCKS_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("rows", pa.int32()),
        ("xxh3", pa.uint64()),
        ("row_group", pa.binary()),
    ]
)
"""The blocks table: one row per block, split by split, each in row order. ``shard`` indexes ``Manifest.shards``;
``row_group`` is what :func:`distmtl.data.footer.encode_row_group` made; the table's metadata keeps the template."""

_TEMPLATE = b"parquet_footer"


@dataclass(frozen=True)
class Column:
    """A column of a source.

    Attributes:
        name: Its name.
        kind: ``numeric`` (nulls allowed), ``categorical`` (ids, see :mod:`distmtl.features`), ``tensor``, or of any
            length and with nulls allowed: ``text``, ``bytes``, or ``ragged``, whose rows are lists of numbers, stored
            as their bytes (little-endian).
        dtype: NumPy name of one stored number: int32, int64, float32 or float64 for ``numeric``, int32 for
            ``categorical``, any for ``tensor`` and ``ragged``; ``utf8`` for ``text`` and ``uint8`` for ``bytes``.
        shape: Shape of one row of a ``tensor``, else ().
        origin: Its type in the packed files, for people.
        vocabulary: Values of a ``categorical`` column in the train split, else (). They are sorted, save that those
            of appended rows follow those that were there before, whose ids they must not change.
    """

    name: str
    kind: ColumnKind
    dtype: str
    shape: tuple[int, ...] = ()
    origin: str = ""
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumericStatistics:
    """A numeric column over the rows of one split; NaN counts as null.

    Attributes:
        nulls: Rows without a value.
        infinite: Rows with an infinite value; they are left out of everything below but ``values``.
        mean: Mean, or None without a finite value (so are the next three).
        std: Population standard deviation.
        minimum: Smallest value.
        maximum: Largest value.
        quantiles: :data:`QUANTILES` ascending values that cut the rows into equal shares; () outside train. Of a
            large source they are those of a random part of its rows: see :mod:`distmtl.data.ingest.place`.
        values: The distinct finite values, ascending, or None for more than :data:`VALUES_LIMIT`.
        counts: Rows with each of ``values``, or None.
    """

    nulls: int
    infinite: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    quantiles: tuple[float, ...]
    values: tuple[float, ...] | None
    counts: tuple[int, ...] | None


@dataclass(frozen=True)
class CategoricalStatistics:
    """A categorical column over the rows of one split.

    Attributes:
        nulls: Rows without a value.
        unknown: Rows with a value that the vocabulary does not hold.
        counts: Rows with each value of the vocabulary; None outside train for more than :data:`VALUES_LIMIT`.
    """

    nulls: int
    unknown: int
    counts: tuple[int, ...] | None


@dataclass(frozen=True)
class LengthStatistics:
    """A text, bytes or ragged column over the rows of one split.

    Attributes:
        nulls: Rows without a value.
        mean_length: Mean length of the other rows: bytes of UTF-8 of text, bytes, or numbers of a ragged row.
        max_length: The largest length.
        total_length: The sum of all lengths.
    """

    nulls: int
    mean_length: float
    max_length: int
    total_length: int


Statistics = NumericStatistics | CategoricalStatistics | LengthStatistics


@dataclass(frozen=True)
class SplitInfo:
    """A split: its size, and the statistics of all its columns but tensors by name."""

    rows: int
    blocks: int
    statistics: Mapping[str, Statistics]


@dataclass(frozen=True)
class Shard:
    """A Parquet file of a source; ``xxh3`` is the hash of the whole file as 16 hexadecimal digits."""

    key: str
    split: str
    rows: int
    bytes: int
    xxh3: str


@dataclass(frozen=True)
class Manifest:
    """A version of a source.

    Attributes:
        digest: Hash of everything below; names this version.
        columns: The columns, in the order of the packed files.
        splits: The splits by name, ``train`` first.
        shards: The shards; the blocks table refers to them by index.
        block_rows: Rows of a block (a power of two); the last block of a split may have fewer.
        blocks_key: Key of the blocks table, which holds its hash.
        packed: How it was packed (seed, order, versions), for people.
    """

    digest: str
    columns: tuple[Column, ...]
    splits: Mapping[str, SplitInfo]
    shards: tuple[Shard, ...]
    block_rows: int
    blocks_key: str
    packed: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(split.rows for split in self.splits.values())


def seal(
    columns: tuple[Column, ...],
    splits: Mapping[str, SplitInfo],
    shards: tuple[Shard, ...],
    block_rows: int,
    blocks_key: str,
    packed: Mapping[str, Any],
) -> Manifest:
    """A manifest with the digest of its contents."""
    draft = Manifest("", columns, splits, shards, block_rows, blocks_key, packed)
    return dataclasses.replace(draft, digest=_hash(_canonical(_body(draft))))


def manifest_key(digest: str) -> str:
    """Key of one version's manifest."""
    return f"manifest-{digest}.json"


def manifest_to_bytes(manifest: Manifest) -> bytes:
    """The manifest as its canonical JSON."""
    return _canonical(_body(manifest) | {"digest": manifest.digest})


def manifest_from_bytes(data: bytes, where: str) -> Manifest:
    """Read what :func:`manifest_to_bytes` wrote.

    Args:
        data: The bytes of a manifest file.
        where: Its URI, for errors.

    Raises:
        SourceError: These are not the bytes that were written, or another version of distmtl wrote them.
    """
    damaged = SourceError(
        "the manifest is damaged: its bytes do not match its digest.", where, "Pack the source again."
    )
    try:
        value = json.loads(data)
        body = {key: item for key, item in value.items() if key != "digest"}
        if _canonical(value) != data or _hash(_canonical(body)) != value["digest"]:
            raise damaged
    except (ValueError, AttributeError, KeyError) as error:
        raise damaged from error
    if value["format"] != FORMAT or value["version"] != VERSION:
        raise SourceError(
            f"the manifest is of format {value['format']} {value['version']}; this distmtl reads {FORMAT} {VERSION}.",
            where,
            "Use the distmtl that packed it, or pack the source again.",
        )
    return Manifest(
        digest=value["digest"],
        columns=tuple(_column(item) for item in value["columns"]),
        splits={item["name"]: _split(item) for item in value["splits"]},
        shards=tuple(Shard(**item) for item in value["shards"]),
        block_rows=value["block_rows"],
        blocks_key=value["blocks_key"],
        packed=value["packed"],
    )


def blocks_to_bytes(blocks: pa.Table, template: bytes) -> tuple[str, bytes]:
    """Key and Arrow IPC file of a blocks table of :data:`BLOCKS_SCHEMA`, with the footer template of the source."""
    table = blocks.cast(BLOCKS_SCHEMA).combine_chunks().replace_schema_metadata({_TEMPLATE: template})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    return f"blocks-{_hash(data)}.arrow", data


def blocks_from_bytes(data: bytes, key: str, where: str) -> tuple[pa.Table, bytes]:
    """The blocks table and the footer template that :func:`blocks_to_bytes` wrote under ``key``.

    Raises:
        SourceError: These are not the bytes that were written.
    """
    if key != f"blocks-{_hash(data)}.arrow":
        raise SourceError(
            "the blocks table is damaged: its bytes do not match its hash.", f"{where}/{key}", "Pack the source again."
        )
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    return table, table.schema.metadata[_TEMPLATE]


def _body(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        # Not dataclasses.asdict, which copies every word of a vocabulary.
        "columns": [vars(column) for column in manifest.columns],
        "splits": [
            {"name": name, **vars(split), "statistics": {key: vars(value) for key, value in split.statistics.items()}}
            for name, split in manifest.splits.items()
        ],
        "shards": [vars(shard) for shard in manifest.shards],
        "block_rows": manifest.block_rows,
        "blocks_key": manifest.blocks_key,
        "packed": dict(manifest.packed),
    }


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _column(item: dict[str, Any]) -> Column:
    return Column(**item | {"shape": tuple(item["shape"]), "vocabulary": tuple(item["vocabulary"])})


def _split(item: dict[str, Any]) -> SplitInfo:
    statistics = {name: _statistics(value) for name, value in item["statistics"].items()}
    return SplitInfo(item["rows"], item["blocks"], statistics)


def _statistics(item: dict[str, Any]) -> Statistics:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in item.items()}
    if "max_length" in values:
        return LengthStatistics(**values)
    return CategoricalStatistics(**values) if "unknown" in values else NumericStatistics(**values)
