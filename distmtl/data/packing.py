"""Packing files into a source: read, find types, split, order, write blocks, and last of all write the manifest.

The rows are held in memory between the stages. Each stage is a function of the one before, so that a streaming one can
take its place: types and statistics need one pass over the files, splits and order are functions of the row index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from distmtl import __version__
from distmtl.data.gather import Note, files_by_split, read_rows
from distmtl.data.infer import TypedColumn
from distmtl.data.manifest import TRAIN, Column, Manifest, SplitInfo, Statistics, seal
from distmtl.data.options import PackOptions
from distmtl.data.publish import Publication
from distmtl.data.shards import ShardOptions, choose_block_rows
from distmtl.data.splits import Rows, shuffled_rows
from distmtl.data.statistics import build_vocabulary, categorical_statistics, numeric_statistics, vocabulary_ids
from distmtl.data.tensors import TensorLayout, tensor_array, tensor_field
from distmtl.store import open_store

__all__ = ["PackOptions", "pack"]

_MANY_WORDS = 1000
"""A vocabulary of at least this many words, and half as many as there are rows, is worth a note."""


def pack(
    inputs: Mapping[str, Sequence[str]] | Sequence[str],
    out: str,
    options: PackOptions | None = None,
    note: Note = lambda _: None,
) -> Manifest:
    """Pack files into a source.

    Args:
        inputs: Files, folders and globs by split; or without splits, which then come from ``options``, from file
            names like ``train.csv`` and ``valid.csv``, or else are 80 % train, 10 % valid, 10 % test at random.
        out: Folder or URI of the source.
        options: How.
        note: Called with each thing that a person should know.

    Raises:
        SourceError: The files or the options are wrong, or there is a source at ``out`` already. Nothing is left.
        StoreError: The store cannot be written. Nothing is left, as far as it lets itself be cleaned.
    """
    options = options or PackOptions()
    publication = Publication(open_store(out), overwrite=options.overwrite)
    files = files_by_split(inputs, options, note)
    rows = read_rows(files, options, note)
    columns = [_stored(column, rows.splits[TRAIN], options.max_vocabulary) for column in rows.columns]
    splits = {
        name: shuffled_rows(where, options.seed, name) if options.order == "shuffle" else where
        for name, where in rows.splits.items()
    }
    _notes(columns, splits, note)
    row_bytes = sum(column.values[:1].nbytes for column in columns)
    block_rows = options.block_rows or choose_block_rows(row_bytes, max(map(len, splits.values())))
    shard_options = ShardOptions(block_rows, options.shard_bytes, options.compression)
    schema = pa.schema([_field(column) for column in columns])
    with publication as target:
        infos = {}
        for name, where in splits.items():
            blocks = (_block(columns, schema, where[i : i + block_rows]) for i in range(0, len(where), block_rows))
            count = target.write_split(name, _identity(files, options), schema, blocks, shard_options)
            infos[name] = SplitInfo(len(where), count, _statistics(columns, where, train=name == TRAIN))
        return target.commit(
            seal(
                columns=tuple(column.column for column in columns),
                splits=infos,
                shards=tuple(target.shards),
                block_rows=block_rows,
                blocks_key=target.write_blocks(schema),
                packed={
                    "distmtl": __version__,
                    "pyarrow": pa.__version__,
                    "seed": options.seed,
                    "order": options.order,
                    "split_by": rows.split_by,
                },
            )
        )


@dataclass(frozen=True)
class _StoredColumn:
    """A column as it is written: what the manifest says of it, ``[N]`` or ``[N, *shape]`` values, and their nulls."""

    column: Column
    values: np.ndarray[Any, np.dtype[Any]]
    valid: np.ndarray[Any, np.dtype[np.bool_]] | None


def _stored(typed: TypedColumn, train: Rows, limit: int) -> _StoredColumn:
    if typed.kind != "categorical":
        dtype, shape = typed.values.dtype.name, typed.values.shape[1:]
        return _StoredColumn(Column(typed.name, typed.kind, dtype, shape, typed.origin), typed.values, typed.valid)
    vocabulary = build_vocabulary(typed.words, typed.values[train], limit)
    ids = vocabulary_ids(typed.words, typed.values, vocabulary)
    return _StoredColumn(Column(typed.name, typed.kind, "int32", (), typed.origin, vocabulary), ids, None)


def _field(stored: _StoredColumn) -> pa.Field:
    column = stored.column
    if column.kind == "tensor":
        return tensor_field(column.name, TensorLayout(column.dtype, column.shape))
    return pa.field(column.name, pa.from_numpy_dtype(np.dtype(column.dtype)), nullable=stored.valid is not None)


def _block(columns: Sequence[_StoredColumn], schema: pa.Schema, rows: Rows) -> pa.Table:
    arrays = []
    for stored in columns:
        values = stored.values[rows]
        if stored.column.kind == "tensor":
            arrays.append(tensor_array(values))
        else:
            arrays.append(pa.array(values, mask=None if stored.valid is None else ~stored.valid[rows]))
    return pa.Table.from_arrays(arrays, schema=schema)


def _statistics(columns: Sequence[_StoredColumn], rows: Rows, *, train: bool) -> dict[str, Statistics]:
    found: dict[str, Statistics] = {}
    for stored in columns:
        column = stored.column
        if column.kind == "numeric":
            valid = None if stored.valid is None else stored.valid[rows]
            found[column.name] = numeric_statistics(stored.values[rows], valid, train=train)
        elif column.kind == "categorical":
            found[column.name] = categorical_statistics(stored.values[rows], len(column.vocabulary), train=train)
    return found


def _notes(columns: Sequence[_StoredColumn], splits: Mapping[str, Rows], note: Note) -> None:
    """What is packed as asked, but may not be meant."""
    train = len(splits[TRAIN])
    if "valid" not in splits:
        note("there is no split 'valid' to evaluate on during training")
    for stored in columns:
        column = stored.column
        words = len(column.vocabulary)
        if words >= max(_MANY_WORDS, train // 2):
            note(f"column '{column.name}' has {words} values in {train} train rows; leave it out with --drop?")
        if column.origin.startswith("fixed_size_binary") and column.dtype == "uint8" and len(column.shape) == 1:
            note(
                f"column '{column.name}' is {column.shape[0]} bytes; if they have a shape, give --tensor NAME=uint8:AxB"
            )
        if column.kind == "numeric" and stored.values.dtype.kind == "f" and np.isinf(stored.values).any():
            note(f"column '{column.name}' has infinite values; no run can use it")


def _identity(files: Mapping[str | None, Sequence[str]], options: PackOptions) -> str:
    """A name for the shards that follows from every byte that went in."""
    counts = {name: len(paths) for name, paths in files.items()}
    state = xxhash.xxh3_64(repr((__version__, pa.__version__, replace(options, overwrite=False), counts)).encode())
    for paths in files.values():
        for path in paths:
            with Path(path).open("rb") as file:
                for piece in iter(lambda file=file: file.read(1 << 20), b""):  # type: ignore[misc]
                    state.update(piece)
    return state.hexdigest()
