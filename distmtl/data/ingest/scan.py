"""The first pass over the inputs: what their columns are, how many rows they have, and what decides the splits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event, Lock
from typing import Any

import pyarrow as pa

from distmtl.data.importers import RawInput
from distmtl.data.infer import TypingOptions
from distmtl.data.ingest.kinds import ColumnType
from distmtl.data.ingest.parallel import Cancelled, in_order, read_ahead
from distmtl.data.ingest.place import ControlCounts
from distmtl.data.ingest.progress import Meter
from distmtl.data.ingest.scanners import Scanner, scanner
from distmtl.data.merge import conform
from distmtl.errors import SourceError


@dataclass(frozen=True)
class ScanOptions:
    """What a scan looks for.

    Attributes:
        schema: The columns that all inputs share, those that only decide the split included.
        columns: The columns that are packed.
        text: Whether the inputs are text files.
        typing: What the caller knows about columns.
        limit: Largest number of words of a categorical column.
        control: The column that decides the splits, and what to count of it.
    """

    schema: pa.Schema
    columns: tuple[str, ...]
    text: bool
    typing: TypingOptions
    limit: int
    control: Callable[[], ControlCounts]


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes:
        types: The columns that are packed.
        rows: Rows of each input.
        control: What decides the splits.
    """

    types: tuple[ColumnType, ...]
    rows: tuple[int, ...]
    control: ControlCounts


class BatchCache:
    """The batches of small inputs, so that they are read once.

    Args:
        limit: Bytes of all batches together; with more, none is kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: dict[int, list[pa.RecordBatch]] = {}
        self._lock = Lock()

    @property
    def whole(self) -> bool:
        """Whether everything that was read is kept."""
        return self._bytes <= self._limit

    def add(self, number: int, batch: pa.RecordBatch) -> None:
        """A batch of an input was read."""
        with self._lock:
            self._bytes += batch.nbytes
            if self.whole:
                self._kept.setdefault(number, []).append(batch)
            else:
                self._kept.clear()

    def of(self, number: int) -> list[pa.RecordBatch] | None:
        """The batches of an input, or None where they have to be read again."""
        return self._kept.get(number) if self.whole else None


@dataclass
class _Found:
    """What was found in one input, or in several of them."""

    scanners: dict[str, Scanner]
    control: ControlCounts
    rows: list[int] = field(default_factory=list)

    def merge(self, other: "_Found") -> None:
        for name, mine in self.scanners.items():
            mine.merge(other.scanners[name])
        self.control.merge(other.control)
        self.rows += other.rows


def scan(inputs: Sequence[RawInput], options: ScanOptions, cache: BatchCache, threads: int, meter: Meter) -> Scan:
    """Read all inputs, and find what they hold.

    Raises:
        SourceError: An input cannot be read or packed.
    """
    found = _scan(inputs, options, frozenset(), cache, threads, meter)
    rows = sum(found.rows)
    types = {name: mine.decide(rows) for name, mine in found.scanners.items()}
    unknown = frozenset(name for name, kind in types.items() if kind is None)
    if unknown:
        # Cells that looked like numbers in the first batches, and were none: their words have not been counted.
        again = replace(options, columns=tuple(sorted(unknown)), control=_nothing)
        more = _scan(inputs, again, unknown, cache, threads, Meter("scan", rows, lambda _: None))
        types |= {name: mine.decide(rows) for name, mine in more.scanners.items()}
    return Scan(tuple(kind for kind in types.values() if kind is not None), tuple(found.rows), found.control)


def _nothing() -> ControlCounts:
    return ControlCounts(None, grouped=False, nulls=None, seed=0)


def _scan(
    inputs: Sequence[RawInput], options: ScanOptions, words: frozenset[str], cache: BatchCache, threads: int,
    meter: Meter,
) -> _Found:  # fmt: skip
    def one(numbered: tuple[int, RawInput], stop: Event) -> _Found:
        return _scan_input(*numbered, options, words, cache, meter, stop)

    results = in_order(one, enumerate(inputs), threads)
    whole = next(results)
    for found in results:
        whole.merge(found)
    return whole


def _scan_input(
    number: int, raw: RawInput, options: ScanOptions, words: frozenset[str], cache: BatchCache, meter: Meter,
    stop: Event,
) -> _Found:  # fmt: skip
    found = _Found(
        {
            name: scanner(
                options.schema.field(name), text=options.text, options=options.typing, limit=options.limit,
                known_words=name in words,
            )
            for name in options.columns
        },
        options.control(),
    )  # fmt: skip
    rows = 0
    for batch in read_batches(number, raw, options.schema, cache, stop, keep=not words):
        for name, mine in found.scanners.items():
            mine.add(batch.column(name))
        found.control.add(batch)
        rows += batch.num_rows
        meter.add(batch.num_rows)
    if not rows:
        raise SourceError("the file has no rows.", raw.path, "Leave it out.")
    for mine in found.scanners.values():
        mine.finish()
    found.rows.append(rows)
    return found


def read_batches(
    number: int, raw: RawInput, schema: pa.Schema, cache: BatchCache, stop: Event, *, keep: bool = False
) -> Iterator[Any]:
    """The batches of an input with the columns of ``schema``, from memory where they are still there.

    Raises:
        Cancelled: ``stop`` was set in between.
    """
    kept = None if keep else cache.of(number)
    if kept is not None:
        yield from kept
        return
    with read_ahead(raw.batches()) as batches:
        for batch in batches:
            if stop.is_set():
                raise Cancelled
            conformed = conform(batch, schema, raw.path)
            if keep:
                cache.add(number, conformed)
            yield conformed
