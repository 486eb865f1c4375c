"""One worker's rows of one source: stretches opened ahead of their use, and gathered for several steps at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from distmtl.data.blocks import BlockCache, LoaderSource, bytes_of, combine, join, slice_rows
from distmtl.data.cuts import Cuts
from distmtl.data.decode import Decoded
from distmtl.data.plan import Layout, Plan
from distmtl.data.resident import RESIDENT_BYTES, Table
from distmtl.data.sequence import Int64, ranges
from distmtl.data.stock import Stock, Stretch, TableStock, WindowStock
from distmtl.data.transformed import RowPlaces

CACHE_BYTES = 128 * 2**20
"""Decoded blocks kept for the windows that share them: those at the ends of lanes."""

READERS = 4
"""Threads that read and decode blocks; they mostly wait for the store."""


def is_kept_whole(layout: Layout, window_blocks: int, block: Decoded) -> bool:
    """Whether a source lies in memory whole: it is small, or its open windows would take as much.

    Args:
        layout: The source.
        window_blocks: Blocks in one window of each of the worker's lanes.
        block: A decoded block of it.
    """
    row_bytes = bytes_of(block) / block.rows
    return row_bytes * layout.rows <= max(RESIDENT_BYTES, window_blocks * layout.block_rows * row_bytes)


class Feeds:
    """The feeds of all sources, over one pool of reading threads and one cache of decoded blocks.

    Args:
        sources: The sources, in the run's order.
        plan: The plan of those sources.
        size: The number of workers that share the lanes.
    """

    def __init__(self, sources: Sequence[LoaderSource], plan: Plan, size: int) -> None:
        self._plan, self._size = plan, size
        self._cache = BlockCache(sources, CACHE_BYTES)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="distmtl-read")
        self._closed = False
        self._feeds: dict[int, Feed] = {}
        self._empty: dict[int, Decoded] = {}

    def of(self, source: int) -> "Feed":
        """The feed of a source; the first call reads a block."""
        if source not in self._feeds:
            self._feeds[source] = self._feed(source)
        return self._feeds[source]

    def empty(self, source: int) -> Decoded:
        """No rows of a source, in the shapes that its rows have."""
        if source not in self._empty:
            self._empty[source] = slice_rows(self._cache.get(source, 0), 0, 0)
        return self._empty[source]

    def close(self, *, wait: bool = True) -> None:
        """Stop reading; with ``wait``, return when the reads under way have ended."""
        self._closed = True
        self._readers.shutdown(wait=wait, cancel_futures=True)

    def _feed(self, source: int) -> "Feed":
        layout = self._plan.layouts[source]
        blocks = _SourceBlocks(self, source)
        block = blocks.get(0)
        lanes = -(-self._plan.lanes_of(source) // self._size)
        if layout.blocks == 1 or is_kept_whole(layout, lanes * self._plan.window_blocks, block):
            table = Table(layout.blocks, blocks.get, lambda parts: combine(parts, join))
            return Feed(TableStock(self._plan, source, table, self._readers.submit), self._plan, source, 8)
        stock = WindowStock(self._plan, source, blocks, self._readers.submit)
        return Feed(stock, self._plan, source, bytes_of(block) // max(1, block.rows))

    def block(self, source: int, block: int) -> Decoded:
        """A decoded block."""
        if self._closed:
            raise InterruptedError("the loader was closed")
        return self._cache.get(source, block)

    def drop(self, source: int, block: int) -> None:
        """Forget a decoded block that nobody will ask for soon."""
        self._cache.drop(source, block)


class _SourceBlocks(NamedTuple):
    """The blocks of one source."""

    feeds: Feeds
    source: int

    def get(self, block: int) -> Decoded:
        return self.feeds.block(self.source, block)

    def drop(self, block: int) -> None:
        self.feeds.drop(self.source, block)


class Feed:
    """Follows the lanes that a worker draws from.

    Used by one thread, which opens and gathers groups of steps in their order; reading happens in others.

    Args:
        stock: Where the source's rows lie.
        plan: The plan.
        source: Index of the source.
        draw_bytes: What an open stretch takes in memory for each of its draws.
    """

    def __init__(self, stock: Stock, plan: Plan, source: int, draw_bytes: int) -> None:
        self._stock, self._plan, self._source, self._draw_bytes = stock, plan, source, draw_bytes
        self._open: list[tuple[int, Stretch]] = []
        self._pending: list[Stretch] = []  # those that are not read yet
        # By lane, the draw up to which its stretches are open.
        self._until = np.zeros(plan.lanes_of(source), np.int64)
        self._index: _Index | None = None

    def open(self, cuts: Cuts) -> int:
        """Begin to read what some steps draw and earlier ones did not; returns its bytes."""
        stops = cuts.first + cuts.rows
        where = np.flatnonzero(stops > self._until[cuts.lane])
        if not where.size:
            return 0
        missing = np.unique(cuts.lane[where]).size
        self._stock.reserve(missing if self._open else 2 * missing)  # each lane soon has two
        draws = 0
        spans = (column[where].tolist() for column in (cuts.lane, cuts.first, stops))
        for lane, first, stop in zip(*spans, strict=True):
            # What lies between two steps' draws is another worker's.
            draw = max(first, int(self._until[lane]))
            while draw < stop:
                stretch = self._stock.open(lane, draw)
                self._open.append((lane, stretch))
                self._pending.append(stretch)
                self._until[lane] = draw = stretch.stop
                self._index = None
                draws += stretch.stop - stretch.first
        return draws * self._draw_bytes

    def steps_read(self, cuts: Cuts, steps: int) -> int:
        """Of ``steps`` steps, how many at the beginning have all their rows in memory."""
        self._pending = [stretch for stretch in self._pending if not _is_read(stretch)]
        if not self._pending:
            return steps
        pending = {id(stretch) for stretch in self._pending}
        waiting = [id(stretch) in pending for _, stretch in self._open]
        index = self._indexed()
        found, last = index.find(cuts.lane, cuts.first), index.find(cuts.lane, cuts.first + cuts.rows - 1)
        late = np.concatenate(([0], np.cumsum(np.array(waiting)[index.numbers])))  # stretches before each that wait
        behind = late[last + 1] > late[found]
        return int(cuts.step[np.argmax(behind)]) if behind.any() else steps

    def gather(self, cuts: Cuts, *, pin: bool) -> Decoded:
        """The rows of cuts, one after the other; waits until they are read, and raises what reading them raised."""
        return self._stock.take(self._places(cuts), pin=pin)

    def places(self, cuts: Cuts) -> RowPlaces:
        """Which rows of the split :meth:`gather` gives; until they are released."""
        starts = [self._plan.lane_start(self._source, lane) for lane in range(self._plan.lanes_of(self._source) + 1)]
        lane_rows = np.diff(np.array(starts))[cuts.lane]
        passes = ranges(cuts.first, cuts.rows) // np.repeat(lane_rows, cuts.rows)
        return RowPlaces(passes, self._stock.numbers(self._places(cuts)))

    def _places(self, cuts: Cuts) -> Int64:
        """What the stock calls the draws of cuts."""
        index = self._indexed()
        found = index.find(cuts.lane, cuts.first)
        while bool(np.any(over := cuts.first + cuts.rows > index.stops[found])):
            cuts = _cut_at(cuts, over, index.stops[found])
            found = index.find(cuts.lane, cuts.first)
        if self._pending:
            for number in np.unique(index.numbers[found]).tolist():
                self._open[number][1].read.result()
        return ranges(index.places[found] + (cuts.first - index.firsts[found]), cuts.rows)

    def release(self, drawn: int) -> None:
        """Let go of stretches of which nothing is left after so many draws of the source."""
        kept = []
        for lane, stretch in self._open:
            if stretch.end > drawn:
                kept.append((lane, stretch))
            else:
                self._stock.release(stretch)
                self._index = None
        self._open = kept

    def _indexed(self) -> "_Index":
        if self._index is None:
            self._index = _Index(self._open)
        return self._index


class _Index:
    """Finds the open stretch of a draw: arrays in the order of lane and first draw."""

    def __init__(self, opened: list[tuple[int, Stretch]]) -> None:
        lanes = np.array([lane for lane, _ in opened], dtype=np.int64)
        firsts = np.array([stretch.first for _, stretch in opened], dtype=np.int64)
        stops = np.array([stretch.stop for _, stretch in opened], dtype=np.int64)
        self.numbers = np.lexsort((firsts, lanes))
        self._base = int(firsts.min(initial=0))
        self._span = int(stops.max(initial=0)) - self._base + 1
        self.firsts, self.stops = firsts[self.numbers], stops[self.numbers]
        self.places = np.array([stretch.place for _, stretch in opened], dtype=np.int64)[self.numbers]
        self._codes = lanes[self.numbers] * self._span + (self.firsts - self._base)

    def find(self, lanes: Int64, draws: Int64) -> Int64:
        """Place in these arrays of the stretch that holds each draw of a lane ``[S]``."""
        codes = lanes * self._span + (draws - self._base)
        found: Int64 = np.searchsorted(self._codes, codes, side="right") - 1
        return found


def _cut_at(cuts: Cuts, over: np.ndarray, stops: Int64) -> Cuts:
    """The cuts with those that go past the end of their stretch in two."""
    where = np.flatnonzero(over)
    rest = (cuts.first + cuts.rows - stops)[where]
    rows = cuts.rows.copy()
    rows[where] -= rest
    return Cuts(
        np.insert(cuts.step, where + 1, cuts.step[where]),
        np.insert(cuts.lane, where + 1, cuts.lane[where]),
        np.insert(cuts.first, where + 1, stops[where]),
        np.insert(rows, where + 1, rest),
    )


def _is_read(stretch: Stretch) -> bool:
    return stretch.read.done() and stretch.read.exception() is None
