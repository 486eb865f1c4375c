"""Packing files into a source: find types, place and convert the rows, write blocks, and last of all the manifest.

The stages are in :mod:`distmtl.data.ingest`. None of them holds all rows: what memory has no room for waits in a work
folder, which is named after the inputs and options, so that a pack that was killed goes on where it was. The bytes of a
source follow from the inputs and the options alone.
"""

from distmtl.data.gather import Inputs, Note
from distmtl.data.ingest.append import merge_infos
from distmtl.data.ingest.plan import Plan, plan_pack
from distmtl.data.ingest.prepare import Prepared, prepare, restore
from distmtl.data.ingest.progress import Meter, OnProgress
from distmtl.data.ingest.work import WorkFolder, work_folder
from distmtl.data.ingest.write import ShardWriter, shard_tasks
from distmtl.data.manifest import LATEST_KEY, TRAIN, Manifest, NumericStatistics, seal
from distmtl.data.options import PackOptions
from distmtl.data.publish import Publication
from distmtl.data.source import Source, open_source
from distmtl.errors import SourceError
from distmtl.store import Store, open_store

__all__ = ["PackOptions", "pack"]

_MANY_WORDS = 1000
"""A vocabulary of at least this many words, and half as many as there are rows, is worth a note."""


def pack(
    inputs: Inputs,
    out: str,
    options: PackOptions | None = None,
    note: Note = lambda _: None,
    progress: OnProgress = lambda _: None,
) -> Manifest:
    """Pack files into a source.

    Args:
        inputs: Files, folders and globs, or inputs (:class:`distmtl.data.importers.RawInput`), by split; or without
            splits, which then come from ``options``, from file names like ``train.csv`` and ``valid.csv``, or else are
            80 % train, 10 % valid, 10 % test at random.
        out: Folder or URI of the source.
        options: How.
        note: Called with each thing that a person should know.
        progress: Called a few times per second with how far it is.

    Raises:
        SourceError: The files or the options are wrong, or there is a source at ``out`` already. Nothing is left.
        StoreError: The store cannot be written. Nothing is left, as far as it lets itself be cleaned.
    """
    options = options or PackOptions()
    store = open_store(out)
    base = _base(store, out) if options.append else None
    publication = Publication(store, overwrite=options.overwrite, base=base)
    plan = plan_pack(inputs, options, base, note)
    identity = plan.identity()
    work = work_folder(store, options.work, identity)
    try:
        prepared = restore(work) or prepare(plan, work, note, progress)
        _notes(prepared, note)
        manifest = _publish(plan, prepared, identity, publication, store, work, progress)
    except BaseException:
        work.close(remove=True)
        raise
    work.close(remove=True)
    work.remove_others()
    return manifest


def _base(store: Store, out: str) -> Source:
    if store.size(LATEST_KEY) is None:
        raise SourceError("there is no source to append to.", store.uri, "Pack one first, without --append.")
    return open_source(out)


def _publish(
    plan: Plan, prepared: Prepared, identity: str, publication: Publication, store: Store, work: WorkFolder,
    progress: OnProgress,
) -> Manifest:  # fmt: skip
    """Write the shards and the manifest."""
    layout, draft = prepared.layout, prepared.draft
    meter = Meter("write", sum(prepared.rows), progress)
    writer = ShardWriter(store, prepared.runs, layout, plan.options.compression, work if work.is_open else None, meter)
    tasks = shard_tasks(layout, prepared.rows, identity)
    before = {} if plan.base is None else plan.base.manifest.splits
    with publication as target:
        target.announce([task.key for task in tasks])
        for record in writer.write_all(tasks, plan.threads):
            target.add(record, layout.schema)
        meter.finish()
        splits = draft.splits if plan.base is None else merge_infos(before, draft.splits, draft.columns)
        return target.commit(
            seal(
                columns=draft.columns,
                splits=splits,
                shards=tuple(target.shards),
                block_rows=draft.block_rows,
                blocks_key=target.write_blocks(layout.schema, splits),
                packed=draft.packed,
            )
        )


def _notes(prepared: Prepared, note: Note) -> None:
    """What is packed as asked, but may not be meant."""
    draft = prepared.draft
    if "valid" not in draft.splits:
        note("there is no split 'valid' to evaluate on during training")
    train = draft.splits[TRAIN].rows if TRAIN in draft.splits else 0
    for column in draft.columns:
        words = len(column.vocabulary)
        if words >= max(_MANY_WORDS, train // 2):
            note(f"column '{column.name}' has {words} values in {train} train rows; leave it out with --drop?")
        if column.kind == "text" and column.origin == "string":
            note(f"column '{column.name}' is text; if it holds names, give --categorical {column.name}")
        if column.origin.startswith("fixed_size_binary") and column.dtype == "uint8" and len(column.shape) == 1:
            note(
                f"column '{column.name}' is {column.shape[0]} bytes; if they have a shape, give --tensor NAME=uint8:AxB"
            )
        statistics = [info.statistics.get(column.name) for info in draft.splits.values()]
        if any(isinstance(found, NumericStatistics) and found.infinite for found in statistics):
            note(f"column '{column.name}' has infinite values; no run can use it")
