"""``check``: everything that can be known of a run before a worker starts."""

import secrets
from collections.abc import Iterator

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import RUN_KEY, RunStore, open_run, read_record
from distmtl.config.hash import changes, check_resume, config_hash
from distmtl.config.run import RunConfig
from distmtl.data.labels import unknown_labels
from distmtl.data.manifest import TRAIN
from distmtl.data.source import Source
from distmtl.errors import CheckpointError, ConfigError, StoreError
from distmtl.orchestrate.prepare import Prepared, prepare, valid_rows
from distmtl.orchestrate.report import Report, SourceFacts, StoreFacts, TaskFacts
from distmtl.orchestrate.resources import check_resources
from distmtl.store import Store, open_store

MANY_PASSES = 50
"""A source that a run goes over more often is probably repeated by mistake."""


def check(config: RunConfig) -> Report:
    """Check a run: its file, sources, labels, model, store, and how long it is going to take.

    Nothing is left behind: the store is tried by putting and deleting one object, and the model is thrown away.

    Raises:
        InputError: The run cannot start, for the reason that ``train`` would give.
    """
    from distmtl.orchestrate.rehearsal import rehearse  # loads torch

    prepared = prepare(config)
    busy = check_resources(prepared.config)
    sources = tuple(source_facts(prepared))
    tasks = tuple(task_facts(prepared))
    memory, route, pace, about_model = rehearse(prepared)
    store = store_facts(config, prepared)
    warnings = [
        *about_sources(prepared, sources),
        *about_labels(prepared),
        *about_workers(prepared.config),
        *about_reading(prepared),
        *about_model,
    ]
    if not store.writable:
        warnings.append(f"the store cannot be written: {store.problem}")
    return Report(
        name=config.name,
        config_hash=config_hash(config),
        steps=prepared.steps,
        batch_rows=config.batch.rows,
        workers=config.launch.workers,
        sources=sources,
        tasks=tasks,
        memory=memory,
        route=route,
        store=store,
        pace=pace,
        warnings=(*warnings, *(f"{sentence}." for sentence in busy)),
    )


def source_facts(prepared: Prepared) -> Iterator[SourceFacts]:
    """Each source, with its share of the first mixture over the whole run."""
    drawn = prepared.mixture.drawn(prepared.steps)
    for (name, source), rows in zip(prepared.sources.items(), drawn, strict=True):
        manifest = source.manifest
        yield SourceFacts(
            name=name,
            uri=source.uri,
            digest=manifest.digest,
            rows={split: info.rows for split, info in manifest.splits.items()},
            size_bytes=sum(shard.bytes for shard in manifest.shards),
            share=rows / sum(drawn),
            passes=rows / manifest.splits[TRAIN].rows,
        )


def task_facts(prepared: Prepared) -> Iterator[TaskFacts]:
    """Each task, with what is known of its labels."""
    for name, spec in prepared.config.tasks.items():
        label, source = prepared.labels[name], prepared.sources[spec.source]
        names = label.classes or tuple(str(index) for index in range(len(label.class_counts or ())))
        counts = label.class_counts or ()
        yield TaskFacts(
            name=name,
            source=spec.source,
            target=spec.target,
            kind=spec.kind,
            missing={split: _missing(source, spec.target, split) for split in source.manifest.splits},
            classes={word: count / label.valid for word, count in zip(names, counts, strict=True)},
            mean=label.mean,
            std=label.std,
            weight=spec.weight,
            effective_weight=spec.weight * _present_share(prepared, spec.source, label.nulls),
        )


def _missing(source: Source, column: str, split: str) -> float:
    info = source.manifest.splits[split]
    return info.statistics[column].nulls / info.rows if info.rows else 0.0


def _present_share(prepared: Prepared, source: str, nulls: int) -> float:
    """Share of the steps that have a label of a column of this source, were its nulls spread at random."""
    index = list(prepared.sources).index(source)
    drawn = prepared.mixture.drawn(prepared.steps)[index]
    missing = nulls / prepared.sources[source].split(TRAIN).rows
    rows = prepared.config.batch.rows
    if prepared.mixture.per == "step":
        return float(drawn / rows / prepared.steps * (1 - missing**rows))
    quota = drawn / prepared.steps
    return float(min(1.0, quota) * (1 - missing ** max(1.0, quota)))


def about_sources(prepared: Prepared, facts: tuple[SourceFacts, ...]) -> Iterator[str]:
    """Sources that the run repeats, never finishes, or has no use for."""
    used = {task.source for task in prepared.config.tasks.values()}
    for source in facts:
        if source.name not in used:
            yield f"source '{source.name}' is read by no task."
        if source.passes == 0:
            yield f"source '{source.name}' gives no row at all: its weight in the mixture is 0."
        elif source.passes < 1:
            yield f"source '{source.name}' is never finished: the run reads {source.passes:.1%} of its train rows."
        elif source.passes > MANY_PASSES:
            yield f"source '{source.name}' is repeated {source.passes:.0f} times."
        if not valid_rows(prepared.sources[source.name]):
            yield f"source '{source.name}' has no valid split, so its tasks are not evaluated during training."


def about_labels(prepared: Prepared) -> Iterator[str]:
    """Labels of other splits that training never sees."""
    for name, spec in prepared.config.tasks.items():
        source = prepared.sources[spec.source]
        for split in source.manifest.splits:
            rows = unknown_labels(source.split(split), prepared.labels[name]) if split != TRAIN else 0
            if rows:
                yield (
                    f"task '{name}': {rows} rows of split '{split}' have a class that train has not; "
                    "they count as missing."
                )


def about_workers(config: RunConfig) -> Iterator[str]:
    """More workers than there is work for."""
    workers, batch = config.launch.workers, config.batch
    if batch.rows < workers:
        yield f"{workers} workers share {batch.rows} rows per step, so some compute nothing."
    if batch.lanes < workers:
        yield f"batch.lanes {batch.lanes} is less than {workers} workers, so some read what others read too."


def about_reading(prepared: Prepared) -> Iterator[str]:
    """Blocks that may be left out, and a cache that cannot keep any."""
    most = prepared.config.train.quarantine.max_blocks
    if most:
        yield (
            f"up to {most} unreadable blocks are replaced by others instead of ending the run "
            "(train.quarantine.max_blocks)."
        )
    cache = next((source.cache for source in prepared.sources.values() if source.cache is not None), None)
    problem = cache.problem() if cache else None
    if cache is not None and problem:
        yield (
            f"{cache.folder}: blocks cannot be kept here ({problem}), so remote sources are fetched anew in every pass "
            "(launch.cache)."
        )


def store_facts(config: RunConfig, prepared: Prepared) -> StoreFacts:
    """Whether the store can be written, and what it has of this run."""
    store = open_store(prepared.config.store)
    run = open_run(store, config.name)
    try:
        _probe(store)
    except StoreError as error:
        return StoreFacts(run.uri, writable=False, problem=str(error), found="")
    return StoreFacts(run.uri, writable=True, problem="", found=_found(run, config))


def _probe(store: Store) -> None:
    """Put one object and delete it again."""
    key = f".probe-{secrets.token_hex(8)}"
    store.put_new(key, b"distmtl check\n")
    store.delete([key])


def _found(run: RunStore, config: RunConfig) -> str:
    """What is there of the run, and whether it can be gone on with."""
    if run.store.size(RUN_KEY) is None:
        return ""
    new = config.model_dump(mode="json")
    try:
        old, checkpoints = read_record(run).config, find(run)
    except CheckpointError as error:
        return f"a damaged run: {error}"
    try:
        check_resume(old, new)
    except ConfigError:
        return f"a run of another config ({', '.join(changes(old, new))}), so 'train' refuses to go on with it"
    if not checkpoints:
        return "a run without a checkpoint; 'train' begins it anew"
    return f"a run of the same config; 'train' goes on from step {checkpoints[0].step}"
