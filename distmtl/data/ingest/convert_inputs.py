"""The second pass over the inputs: every row is converted, counted, and sent on to its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa

from distmtl.data.importers import RawInput
from distmtl.data.ingest.convert import convert
from distmtl.data.ingest.folds import Fold, fold_of
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.parallel import in_order
from distmtl.data.ingest.place import Placing
from distmtl.data.ingest.progress import Meter
from distmtl.data.ingest.scan import BatchCache, read_batches
from distmtl.data.ingest.spill import KEY, Pieces, Sorter
from distmtl.data.ingest.words import Words
from distmtl.data.manifest import TRAIN
from distmtl.errors import SourceError

Folds = dict[tuple[int, str], Fold]
"""Statistics by number of the split and name of the column."""


@dataclass(frozen=True)
class ConvertOptions:
    """What every row goes through.

    Attributes:
        types: The columns that are packed.
        schema: The columns of the inputs.
        nulls: Strings that mean null.
        placing: Splits and keys of the rows.
        pieces: How they are cut into pieces.
        words: The words of each categorical column; they grow.
    """

    types: tuple[ColumnType, ...]
    schema: pa.Schema
    nulls: tuple[str, ...]
    placing: Placing
    pieces: Pieces
    words: Mapping[str, Words]


def spill_schema(types: Sequence[ColumnType]) -> pa.Schema:
    """The columns of converted rows: as in shards, but with numbers of words in place of ids, and with keys."""
    return pa.schema([*(column.field for column in types), pa.field(KEY, pa.int64(), nullable=False)])


def convert_inputs(
    inputs: Sequence[RawInput], rows: Sequence[int], options: ConvertOptions, cache: BatchCache, sorter: Sorter,
    threads: int, meter: Meter,
) -> Folds:  # fmt: skip
    """Convert all inputs into a sorter; returns their statistics.

    Raises:
        SourceError: An input cannot be read, or is not what it was in the scan.
    """
    firsts = (np.cumsum(rows) - rows).tolist()

    def one(numbered: tuple[int, RawInput], stop: Event) -> Folds:
        number, raw = numbered
        folds: Folds = {}
        first = firsts[number]
        for batch in read_batches(number, raw, options.schema, cache, stop):
            _convert_batch(number, first, batch, options, folds, sorter)
            first += batch.num_rows
            meter.add(batch.num_rows)
        if first != firsts[number] + rows[number]:
            raise SourceError("it was changed while it was packed.", raw.path, "Pack it again.")
        for fold in folds.values():
            fold.finish()
        return folds

    whole: Folds = {}
    for found in in_order(one, enumerate(inputs), threads):
        for place, fold in found.items():
            if place in whole:
                whole[place].merge(fold)
            else:
                whole[place] = fold
    sorter.finish()
    return whole


def _convert_batch(
    number: int, first: int, batch: pa.RecordBatch, options: ConvertOptions, folds: Folds, sorter: Sorter
) -> None:
    placing = options.placing
    splits = placing.rule.split_of(number, first, batch)
    keys = placing.keys(first, batch.num_rows)
    sampled = placing.sampled(first, batch.num_rows)
    columns = [_converted(column, batch.column(column.name), options) for column in options.types]
    rows = pa.RecordBatch.from_arrays([*columns, pa.array(keys)], schema=spill_schema(options.types))
    for split in np.unique(splits).tolist():
        where = np.flatnonzero(splits == split)
        part = rows if len(where) == len(splits) else rows.take(pa.array(where))
        for column, values in zip(options.types, part.columns, strict=False):
            fold = _fold(folds, split, column, placing.rule.names)
            if fold is not None:
                fold.add(values, sampled[where])
        sorter.add(part, options.pieces.of(split, keys[where]))


def _fold(folds: Folds, split: int, column: ColumnType, names: Sequence[str]) -> Fold | None:
    found = folds.get((split, column.name))
    if found is None:
        found = fold_of(column, train=names[split] == TRAIN)
        if found is not None:
            folds[split, column.name] = found
    return found


def _converted(column: ColumnType, array: Any, options: ConvertOptions) -> Any:
    found = convert(column, array, options.nulls)
    return pa.array(options.words[column.name].codes(found)) if column.kind == "categorical" else found
