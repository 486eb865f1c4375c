"""Reading every byte of a source and comparing every hash, in several threads."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xxhash

from distmtl.data.fetch import BlockPlace
from distmtl.data.manifest import LATEST_KEY, Shard, blocks_from_bytes, manifest_from_bytes, manifest_key
from distmtl.data.source import Source, Split
from distmtl.errors import KeyMissingError, SourceError
from distmtl.store import Store

THREADS = 8
"""Reads in flight; two more blocks per thread may wait in memory for their turn."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify` found: how much was read in how long, and one sentence per problem."""

    shards: int
    blocks: int
    bytes: int
    seconds: float
    problems: tuple[str, ...]

    @property
    def bytes_per_s(self) -> float:
        """How fast it was read."""
        return self.bytes / max(self.seconds, 1e-9)


def verify(source: Source, threads: int = THREADS) -> VerifyReport:
    """Read every byte of a source from its store, past every cache, and compare every hash.

    Args:
        source: The version to verify.
        threads: Reads at a time.

    Raises:
        StoreError: The store cannot be reached; missing and short files are problems in the report.
    """
    began = time.monotonic()
    problems = _verify_tables(source)
    with ThreadPoolExecutor(threads, thread_name_prefix="distmtl-verify") as pool:
        sizes = pool.map(lambda shard: source.store.size(shard.key), source.manifest.shards)
        whole = []
        for number, (shard, size) in enumerate(zip(source.manifest.shards, sizes, strict=True)):
            if size == shard.bytes:
                whole.append(number)
            else:
                found = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
                problems.append(f"shard {shard.key} (split '{shard.split}') {found}")
        problems += _verify_shards(source, whole, pool, 3 * threads)
    return VerifyReport(
        shards=len(source.manifest.shards),
        blocks=source.blocks.num_rows,
        bytes=sum(source.manifest.shards[number].bytes for number in whole),
        seconds=time.monotonic() - began,
        problems=tuple(problems),
    )


def _verify_tables(source: Source) -> list[str]:
    """The manifest of this version, the newest one and the blocks table, as they are in the store now."""
    store, manifest = source.store, source.manifest
    keys = (manifest_key(manifest.digest), LATEST_KEY, manifest.blocks_key)
    problems = []
    sound = set()  # the newest manifest is mostly this version's, byte for byte
    for key in keys:
        try:
            data = store.get(key)
        except KeyMissingError:
            problems.append(f"{key} is missing")
            continue
        if data in sound:
            continue
        try:
            if key == manifest.blocks_key:
                blocks_from_bytes(data, key, store.uri)
            elif manifest_from_bytes(data, f"{store.uri}/{key}").digest != manifest.digest and key != LATEST_KEY:
                problems.append(f"{key} is of another version")
            else:
                sound.add(data)
        except SourceError as error:
            problems.append(f"{key}: {error.what.rstrip('.')}")
    return problems


class _Span(NamedTuple):
    """Bytes of a shard that are read together: a block and what stands before it, or what stands after the last."""

    shard: Shard
    start: int
    stop: int
    block: BlockPlace | None


class _Read(NamedTuple):
    """The bytes of a span, and what is wrong with its block."""

    span: _Span
    data: memoryview
    problem: str


def _verify_shards(source: Source, numbers: list[int], pool: ThreadPoolExecutor, ahead: int) -> Iterator[str]:
    splits = {name: source.split(name) for name in source.manifest.splits}
    spans = (span for number in numbers for span in _spans(splits, number, source.manifest.shards[number]))
    file, problems = xxhash.xxh3_64(), 0
    for read in _in_order(pool, lambda span: _read(source.store, span), spans, ahead):
        shard = read.span.shard
        file.update(read.data)
        if read.problem:
            problems += 1
            yield read.problem
        if read.span.stop == shard.bytes:
            if file.hexdigest() != shard.xxh3 and not problems:
                yield f"shard {shard.key} (split '{shard.split}') does not match its checksum outside its blocks"
            file, problems = xxhash.xxh3_64(), 0


def _spans(splits: Mapping[str, Split], number: int, shard: Shard) -> Iterator[_Span]:
    split = splits[shard.split]
    position = 0
    for block in np.flatnonzero(split.shards == number).tolist():
        place = split.place(block)
        stop = place.offset + place.length
        yield _Span(shard, position, stop, place)
        position = stop
    if position < shard.bytes:
        yield _Span(shard, position, shard.bytes, None)


def _read(store: Store, span: _Span) -> _Read:
    data = store.get_range(span.shard.key, span.start, span.stop - span.start)
    block = span.block
    if block is None or xxhash.xxh3_64_intdigest(data[block.offset - span.start :]) == block.xxh3:
        return _Read(span, data, "")
    return _Read(span, data, f"{block.text} does not match its checksum")


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Iterator[Result]:
    """``map(work, tasks)`` by the threads of a pool, with at most ``ahead`` results waiting."""
    waiting: deque[Future[Any]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
