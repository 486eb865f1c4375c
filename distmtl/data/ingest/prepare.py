"""From inputs to sorted rows and everything that the manifest will say of them: the two passes over the inputs."""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distmtl import __version__
from distmtl.data.gather import Note
from distmtl.data.ingest.append import appended_vocabulary, fit
from distmtl.data.ingest.convert_inputs import ConvertOptions, Folds, convert_inputs, spill_schema
from distmtl.data.ingest.folds import CountFold, LengthFold, NumberFold
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.place import ByGroup, placing
from distmtl.data.ingest.plan import Plan, split_rule
from distmtl.data.ingest.progress import Meter, OnProgress
from distmtl.data.ingest.scan import BatchCache, scan
from distmtl.data.ingest.spill import DiskRuns, MemoryRuns, Pieces, RunStore, Sorter
from distmtl.data.ingest.words import WORDS_LIMIT, Words
from distmtl.data.ingest.work import WorkFolder
from distmtl.data.ingest.write import Layout
from distmtl.data.manifest import (
    TRAIN,
    Column,
    Manifest,
    SplitInfo,
    Statistics,
    manifest_from_bytes,
    manifest_to_bytes,
    seal,
)
from distmtl.data.shards import choose_block_rows
from distmtl.data.statistics import build_vocabulary, categorical_statistics, id_table

_PREPARED = "prepared.json"
_BUDGET = 48 * 2**20
"""Bytes of rows that all threads together collect for a run, or load as pieces."""

_SMALLEST = 4 * 2**20


@dataclass(frozen=True)
class Prepared:
    """What is left to do once every row has been seen.

    Attributes:
        draft: The manifest without its shards; its splits are those of the new rows alone.
        layout: How the rows become shards.
        rows: Rows of each split, by number.
        runs: The rows.
    """

    draft: Manifest
    layout: Layout
    rows: tuple[int, ...]
    runs: RunStore


def prepare(plan: Plan, work: WorkFolder, note: Note, progress: OnProgress) -> Prepared:
    """Read the inputs twice: find their types, then convert their rows and put them into order.

    Inputs that do not fit into memory go through the work folder, which then keeps what is returned here.

    Raises:
        SourceError: The inputs or the options are wrong, or the work folder is full.
    """
    cache = BatchCache(plan.options.memory_bytes)
    meter = Meter("scan", None, progress)
    found = scan(plan.inputs, plan.scan_options(), cache, plan.threads, meter)
    meter.finish()
    rule, counts, split_by = split_rule(plan, found, note)
    types = _types(plan, found.types)
    place = placing(rule, counts, sum(t.kind == "numeric" for t in types), plan.options.order, plan.options.seed)
    row_bytes = sum(column.row_bytes for column in types)
    budget = max(_SMALLEST, _BUDGET // plan.threads)
    in_memory = cache.whole
    piece_rows = place.rows if in_memory else max(1, budget // (row_bytes + 8))
    pieces = Pieces(len(rule.names), place.rows, piece_rows)
    runs = MemoryRuns() if in_memory else _disk(work, types, place.rows * (row_bytes + 8))
    words = {
        t.name: Words(t.name, max(WORDS_LIMIT, plan.options.max_vocabulary)) for t in types if t.kind == "categorical"
    }
    meter = Meter("convert", place.rows, progress)
    options = ConvertOptions(types, plan.schema, plan.typing.nulls, place, pieces, words)
    folds = convert_inputs(plan.inputs, found.rows, options, cache, Sorter(runs, budget), plan.threads, meter)
    meter.finish()
    draft, tables = _draft(plan, types, rule.names, counts, {name: w.words for name, w in words.items()}, folds)
    packed = dict(draft.packed) | {"split_by": split_by}
    if isinstance(rule, ByGroup):
        packed["groups"] = {
            "column": rule.column, "seed": rule.seed, "splits": list(rule.names), "cuts": list(rule.cuts)
        }  # fmt: skip
    draft = seal(draft.columns, draft.splits, (), draft.block_rows, "", packed)
    shard_blocks = max(1, plan.options.shard_bytes // (draft.block_rows * max(1, row_bytes)))
    schema = pa.schema([column.field for column in types])
    prepared = Prepared(
        draft, Layout(rule.names, schema, tables, pieces, draft.block_rows, shard_blocks), tuple(counts), runs
    )
    if isinstance(runs, DiskRuns):
        work.save(_PREPARED, _to_text(prepared, types, runs))
    return prepared


def _types(plan: Plan, types: Sequence[ColumnType]) -> tuple[ColumnType, ...]:
    if plan.base is None:
        return tuple(types)
    base = plan.base
    return tuple(fit(found, base.column(found.name), base.uri) for found in types)


def _disk(work: WorkFolder, types: Sequence[ColumnType], size: int) -> DiskRuns:
    work.open()
    work.clear()
    work.check_space(size)
    return DiskRuns(work.path, spill_schema(types))


def _draft(
    plan: Plan, types: Sequence[ColumnType], splits: Sequence[str], counts: Sequence[int],
    words: Mapping[str, Sequence[str]], folds: Folds,
) -> tuple[Manifest, dict[str, np.ndarray[Any, np.dtype[np.int32]]]]:  # fmt: skip
    """The manifest but for shards and splits' origin, and the table of ids of each categorical column."""
    train = list(splits).index(TRAIN) if TRAIN in splits else -1
    columns, tables = [], {}
    for column in types:
        vocabulary: tuple[str, ...] = ()
        if column.kind == "categorical":
            known = words[column.name]
            fold = folds.get((train, column.name))
            in_train = fold.of_words(len(known)) if isinstance(fold, CountFold) else np.zeros(len(known), np.int64)
            vocabulary = _vocabulary(plan, column.name, known, in_train)
            tables[column.name] = id_table(known, vocabulary)
        columns.append(column.column(vocabulary))
    block_rows = plan.options.block_rows or choose_block_rows(sum(t.row_bytes for t in types), max(counts))
    infos = {}
    for number, (split, count) in enumerate(zip(splits, counts, strict=True)):
        if count:
            mine = {name: fold for (of, name), fold in folds.items() if of == number}
            statistics = _statistics(columns, mine, tables, train=split == TRAIN)
            infos[split] = SplitInfo(count, -(-count // block_rows), statistics)
    options = plan.options
    packed = {"distmtl": __version__, "pyarrow": pa.__version__, "seed": options.seed, "order": options.order}
    if plan.base is not None:
        packed["appended_to"] = plan.base.manifest.digest
    return seal(tuple(columns), infos, (), block_rows, "", packed), tables


def _vocabulary(
    plan: Plan, name: str, words: Sequence[str], counts: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[str, ...]:
    limit = plan.options.max_vocabulary
    if plan.base is None:
        return build_vocabulary(words, counts, limit)
    before = plan.base.column(name).vocabulary
    return appended_vocabulary(before, dict(zip(words, counts.tolist(), strict=True)), limit)


def _statistics(
    columns: Sequence[Column], folds: Mapping[str, Any], tables: Mapping[str, np.ndarray[Any, np.dtype[np.int32]]], *,
    train: bool,
) -> dict[str, Statistics]:  # fmt: skip
    found: dict[str, Statistics] = {}
    for column in columns:
        fold = folds.get(column.name)
        if isinstance(fold, NumberFold | LengthFold):
            found[column.name] = fold.statistics()
        elif isinstance(fold, CountFold):
            table = tables[column.name]
            counts = fold.of_words(len(table) - 1)
            found[column.name] = categorical_statistics(fold.nulls, counts, table, len(column.vocabulary), train=train)
    return found


def _to_text(prepared: Prepared, types: Sequence[ColumnType], runs: DiskRuns) -> str:
    layout = prepared.layout
    return json.dumps(
        {
            "draft": manifest_to_bytes(prepared.draft).decode(),
            "splits": layout.splits,
            "schema": base64.b64encode(layout.schema.serialize()).decode(),
            "spilled": base64.b64encode(spill_schema(types).serialize()).decode(),
            "tables": {name: table.tolist() for name, table in layout.tables.items()},
            "pieces": dataclasses.asdict(layout.pieces),
            "shard_blocks": layout.shard_blocks,
            "rows": prepared.rows,
            "runs": runs.save(),
        }
    )


def restore(work: WorkFolder) -> Prepared | None:
    """What an earlier process prepared before it was killed, or None where it had not come so far.

    Raises:
        SourceError: That process is still alive.
    """
    if not work.path.is_dir():
        return None
    work.open()
    text = work.load(_PREPARED)
    if text is None:
        return None
    value = json.loads(text)
    draft = manifest_from_bytes(value["draft"].encode(), str(work.path))
    runs = DiskRuns(work.path, _schema(value["spilled"]))
    runs.restore(value["runs"])
    layout = Layout(
        splits=tuple(value["splits"]),
        schema=_schema(value["schema"]),
        tables={name: np.array(table, np.int32) for name, table in value["tables"].items()},
        pieces=Pieces(**value["pieces"]),
        block_rows=draft.block_rows,
        shard_blocks=value["shard_blocks"],
    )
    return Prepared(draft, layout, tuple(value["rows"]), runs)


def _schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
