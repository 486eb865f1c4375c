"""The plan: a pure function from a step to its rows, and to a worker's share of them.

How a source's i-th draw finds its row, in the words of the code below:

1. Draw i belongs to pass ``i // rows`` and is draw ``r = i % rows`` of that pass.
2. Each pass lays the source's blocks end to end in an order of its own; a row's *offset* is its place in that sequence.
3. Draw r belongs to lane ``r % L`` and is that lane's draw ``r // L`` of the pass. Lane l owns as many consecutive
   offsets as it has draws, so lanes never share a row.
4. A lane's offsets are cut into windows of ``window_blocks`` blocks, and the rows of a window are drawn in a permuted
   order.

Both permutations are keyed, so every completed pass covers each row once and nothing repeats within a pass.
Nothing depends on the number of workers: worker q of R takes a contiguous cut of the step's list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from distmtl.data.mixture import Mixture
from distmtl.data.permute import key, permute, shuffle, unpermute
from distmtl.data.sequence import BlockSequence, Int64, ranges

_SMALL_WINDOW_ROWS = 4096
"""Passes of a one-block source smaller than this are located together; it changes no row's place."""

_SMALL_ORDER_BLOCKS = 4096
"""Block orders up to this length are kept, for permuting a few places costs as much as permuting so many."""


class Blocks(Protocol):
    """The shape of a packed split; see :class:`Layout`."""

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def block_rows(self) -> int: ...  # noqa: D102
    @property
    def blocks(self) -> int: ...  # noqa: D102
    @property
    def short_blocks(self) -> tuple[tuple[int, int], ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Layout:
    """How the rows of a source lie in blocks.

    Attributes:
        name: The source's name; part of its keys, so that two sources are permuted differently.
        rows: Number of rows.
        block_rows: Rows of a block that is not short.
        blocks: Number of blocks.
        short_blocks: (block, its rows) of every block with fewer than ``block_rows`` rows.
    """

    name: str
    rows: int
    block_rows: int
    blocks: int
    short_blocks: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        full = self.blocks - len(self.short_blocks)
        if self.rows != full * self.block_rows + sum(rows for _, rows in self.short_blocks) or self.rows < 1:
            raise ValueError(f"the blocks of source '{self.name}' do not add up to {self.rows} rows")

    @classmethod
    def of(cls, name: str, split: Blocks) -> Self:
        """The layout of a packed split."""
        return cls(name, split.rows, split.block_rows, split.blocks, split.short_blocks)


class Segment(NamedTuple):
    """Consecutive draws of one lane, which stand together in a step's list.

    ``first`` counts the lane's draws from the start of the run, over all passes.
    """

    source: int
    """Index of the source."""
    lane: int
    first: int
    """The lane's first draw."""
    rows: int
    """Number of draws, and so of rows."""
    place: int
    """Place of the first draw in the step's global row list."""


class BlockRange(NamedTuple):
    """Rows ``start..stop`` of a block."""

    block: int
    start: int
    stop: int


@dataclass(frozen=True)
class Window:
    """Consecutive draws of a lane whose rows lie in a few blocks.

    Attributes:
        source: Index of the source.
        lane: The lane.
        first: The lane's first draw from it; see :class:`Segment`.
        blocks: The rows it draws, block by block.
        keys: Key of the permutation of those rows in each pass; several passes only for tiny sources.
        end: Number of the source's draws after which the window is exhausted.
    """

    source: int
    lane: int
    first: int
    blocks: tuple[BlockRange, ...]
    keys: tuple[int, ...]
    end: int

    @property
    def rows(self) -> int:
        """Number of rows; every pass draws each of them once."""
        return sum(block.stop - block.start for block in self.blocks)

    @property
    def stop(self) -> int:
        """The lane's first draw after the window."""
        return self.first + self.rows * len(self.keys)

    def order(self) -> Int64:
        """Which of the rows (block ranges laid end to end) each draw takes ``[stop - first]``."""
        if len(self.keys) == 1:
            return shuffle(self.rows, self.keys[0])
        return shuffle(self.rows, np.array(self.keys, dtype=np.uint64)).reshape(-1)


@dataclass(frozen=True)
class Plan:
    """Which rows every step has, and in which order.

    Attributes:
        layouts: The sources, in the run's order.
        lanes: Reading streams per source; a source has no more than it has blocks.
        window_blocks: Blocks per lane whose rows are shuffled together; fewer where a lane has fewer.
        seed: The run's seed.
    """

    layouts: tuple[Layout, ...]
    lanes: int
    window_blocks: int
    seed: int

    def lanes_of(self, source: int) -> int:
        """Number of lanes of a source."""
        return min(self.lanes, self.layouts[source].blocks)

    def segments(self, mixture: Mixture, step: int, rank: int = 0, size: int = 1) -> list[Segment]:
        """A worker's share of a step's global row list, in the list's order.

        The list holds the sources in the run's order; of each source the draws of one pass after the other; of each
        pass the draws of lane 0, of lane 1 and so on. Workers take equal contiguous cuts of it. The cost is that of
        the segments returned and of one pass over the sources, whatever the number of rows, workers and lanes.

        Args:
            mixture: The mixture log.
            step: The step.
            rank: The worker.
            size: The number of workers.
        """
        return self.cut(mixture.drawn(step), mixture.drawn(step + 1), rank, size)

    def cut(self, before: Sequence[int], after: Sequence[int], rank: int = 0, size: int = 1) -> list[Segment]:
        """What :meth:`segments` gives for the step that draws ``before[i]..after[i]`` of every source i."""
        rows = sum(after) - sum(before)
        low, high = rank * rows // size, (rank + 1) * rows // size
        segments: list[Segment] = []
        place = 0
        for source, (first, last) in enumerate(zip(before, after, strict=True)):
            start, stop = max(low - place, 0), min(high - place, last - first)
            if start < stop:
                segments += (
                    Segment(source, lane, draw, count, place + at)
                    for lane, draw, count, at in self.cut_source(source, (first, last), start, stop)
                )
            place += last - first
        return segments

    def cut_source(
        self, source: int, draws: tuple[int, int], low: int, high: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """(lane, its first draw, count, place) of the cut ``low..high`` of the list of a source's draws."""
        rows, lanes = self.layouts[source].rows, self.lanes_of(source)
        first, last = draws
        if lanes == 1:  # the list is in the order of the draws, however many passes it spans
            yield 0, first + low, high - low, low
            return
        for pass_ in range((first + low) // rows, (first + high - 1) // rows + 1):
            start, stop = max(first - pass_ * rows, 0), min(last - pass_ * rows, rows)
            place = pass_ * rows + start - first
            for lane, draw, count, at in _lane_cuts(start, stop, lanes, low - place, high - place):
                yield lane, pass_ * _draws_before(rows, lane, lanes) + draw, count, place + at

    def locate(self, source: int, lane: int, draws: Int64) -> tuple[Int64, Int64]:
        """The block, and the row in it, of a lane's draws ``[N]``, counted from the start of the run."""
        passes, draws = np.divmod(draws, _draws_before(self.layouts[source].rows, lane, self.lanes_of(source)))
        blocks, rows = np.empty_like(draws), np.empty_like(draws)
        for pass_ in np.unique(passes):
            here = passes == pass_
            blocks[here], rows[here] = _LanePass(self, source, lane, int(pass_)).locate(draws[here])
        return blocks, rows

    def window(self, source: int, lane: int, draw: int) -> Window:
        """The window that holds a lane's draw, counted from the start of the run."""
        rows, lanes = self.layouts[source].rows, self.lanes_of(source)
        pass_, draw_of_pass = divmod(draw, _draws_before(rows, lane, lanes))
        if self.layouts[source].blocks > 1:
            return _LanePass(self, source, lane, pass_).window(draw_of_pass)
        together = max(1, _SMALL_WINDOW_ROWS // rows)
        first = pass_ - pass_ % together
        keys = tuple(self.window_key(source, lane, pass_, 0) for pass_ in range(first, first + together))
        return Window(source, lane, first * rows, (BlockRange(0, 0, rows),), keys, end=(first + together) * rows)

    def lane_start(self, source: int, lane: int) -> int:
        """Where a lane's rows begin in what :meth:`pass_order` gives."""
        rows, lanes = self.layouts[source].rows, self.lanes_of(source)
        return lane * (rows // lanes) + min(lane, rows % lanes)

    def pass_of(self, source: int, lane: int, draw: int) -> tuple[int, int]:
        """The pass that holds a lane's draw, and the draw counted from the pass's start."""
        return divmod(draw, _draws_before(self.layouts[source].rows, lane, self.lanes_of(source)))

    def pass_order(self, source: int, pass_: int) -> Int64:
        """Rows of the split that all draws of a pass take ``[rows]``: those of lane 0, of lane 1 and so on.

        It says what :meth:`locate` says of each lane, at a fraction of the cost per row.
        """
        lanes = [_LanePass(self, source, lane, pass_) for lane in range(self.lanes_of(source))]
        listed = lanes[0].listed()
        order = np.empty_like(listed)
        for lane in lanes:
            bounds, keys = lane.windows()
            for (start, stop), key_ in zip(pairwise(bounds.tolist()), keys, strict=True):
                np.take(listed[start:stop], shuffle(stop - start, key_), out=order[start:stop], mode="clip")
        return order

    def window_key(self, source: int, lane: int, pass_: int, number: int) -> int:
        """Key of the permutation of a window's rows."""
        return key(self.seed, "window", self.layouts[source].name, pass_, lane, number)


class _LanePass:
    """What one lane draws in one pass.

    Places of blocks are divided into cells of as many blocks as a window has; a window is the part of a cell that the
    lane owns. The cells of lane l are shifted so that its first window has ``1 + (l - 1) % window`` blocks: lanes then
    need new blocks at different times, and a lone lane has full windows.
    """

    def __init__(self, plan: Plan, source: int, lane: int, pass_: int) -> None:
        layout, lanes = plan.layouts[source], plan.lanes_of(source)
        self._plan, self._source, self._lane, self._pass = plan, source, lane, pass_
        self._blocks = layout.blocks
        self._key = key(plan.seed, "blocks", layout.name, pass_)
        self._sequence = _sequence(layout, self._key)
        self._start, self._stop = (plan.lane_start(source, number) for number in (lane, lane + 1))
        self._cell = max(1, min(plan.window_blocks, layout.blocks // lanes))
        first_place = self._sequence.find(self._start)[0].item()
        self._origin = first_place + 1 + (lane - 1) % self._cell  # where cell 1 begins

    def locate(self, draws: Int64) -> tuple[Int64, Int64]:
        """Block and row of draws ``[N]`` of the pass."""
        offsets = self._start + draws
        numbers = self._number(offsets)
        starts, stops = self._bound(numbers), self._bound(numbers + 1)
        found = np.empty_like(offsets)
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            start, stop = int(starts[here[0]]), int(stops[here[0]])
            found[here] = start + shuffle(stop - start, self._window_key(number))[offsets[here] - start]
        return self.rows_at(found)

    def rows_at(self, offsets: Int64) -> tuple[Int64, Int64]:
        """Block and row at places ``[N]`` of the pass's row sequence."""
        places, rows = self._sequence.find(offsets)
        return _blocks_at(places, self._blocks, self._key), rows

    def listed(self) -> Int64:
        """Rows of the split in the order in which the pass lays its blocks end to end ``[rows]``."""
        layout = self._plan.layouts[self._source]
        blocks = _blocks_at(np.arange(self._blocks), self._blocks, self._key)
        starts, stops = (BlockSequence(layout.block_rows, layout.short_blocks).start(blocks + past) for past in (0, 1))
        return ranges(starts, stops - starts)

    def windows(self) -> tuple[Int64, list[int]]:
        """Offsets that bound the lane's windows ``[W + 1]``, and the windows' keys ``[W]``."""
        first, last = self._number([self._start, self._stop - 1]).tolist()
        numbers = np.arange(first, last + 2)
        return self._bound(numbers), [self._window_key(number) for number in numbers[:-1].tolist()]

    def window(self, draw: int) -> Window:
        """The window that holds a draw of the pass."""
        number = self._number(self._start + draw).item()
        start, stop = self._bound(np.array([number, number + 1])).tolist()
        (first, last), _ = self._sequence.find([start, stop - 1])
        places = np.arange(first, last + 1)
        edges = self._sequence.start(places)
        starts = np.maximum(start - edges, 0)
        stops = np.minimum(stop, self._sequence.start(places + 1)) - edges
        columns = (_blocks_at(places, self._blocks, self._key), starts, stops)
        blocks = tuple(BlockRange(*row) for row in zip(*(column.tolist() for column in columns), strict=True))
        layout, lanes = self._plan.layouts[self._source], self._plan.lanes_of(self._source)
        lane_rows = self._stop - self._start
        return Window(
            self._source,
            self._lane,
            first=self._pass * lane_rows + start - self._start,
            blocks=blocks,
            keys=(self._window_key(number),),
            end=self._pass * layout.rows + (stop - 1 - self._start) * lanes + self._lane + 1,
        )

    def _number(self, offsets: ArrayLike) -> Int64:
        """Number of the window that holds each offset."""
        return (self._sequence.find(offsets)[0] - self._origin) // self._cell + 1

    def _bound(self, numbers: Int64) -> Int64:
        """Offset at which each window starts; one window ends where the next starts."""
        edges = self._sequence.start(self._origin + (numbers - 1) * self._cell)
        return np.clip(edges, self._start, self._stop)

    def _window_key(self, number: int) -> int:
        return self._plan.window_key(self._source, self._lane, self._pass, number)


def _blocks_at(places: Int64, blocks: int, order_key: int) -> Int64:
    """The blocks at some places of a pass ``[N]``."""
    if blocks > _SMALL_ORDER_BLOCKS:
        return permute(places, blocks, order_key)
    return _block_order(blocks, order_key)[places]


@lru_cache(maxsize=64)
def _sequence(layout: Layout, order_key: int) -> BlockSequence:
    """The blocks of a pass laid end to end; all lanes of the pass ask for it."""
    short = np.array(layout.short_blocks, dtype=np.int64).reshape(-1, 2)
    places = unpermute(short[:, 0], layout.blocks, order_key)
    return BlockSequence(layout.block_rows, zip(places.tolist(), short[:, 1].tolist(), strict=True))


@lru_cache(maxsize=64)
def _block_order(blocks: int, order_key: int) -> Int64:
    return permute(np.arange(blocks), blocks, order_key)


def _draws_before(draw: int, lane: int, lanes: int) -> int:
    """How many of a pass's draws before ``draw`` are the lane's."""
    return draw // lanes + (lane < draw % lanes)


def _lane_cuts(start: int, stop: int, lanes: int, low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
    """The draws ``start..stop`` of a pass listed lane by lane: (lane, its first draw, count, place) of a cut.

    All lanes have equally many of the draws, save that they have one more from where the draws start and one less from
    where they stop. So there are three runs of lanes of one count each, and no search is needed.
    """
    place = 0
    for first_lane, stop_lane in pairwise((0, *sorted((start % lanes, stop % lanes)), lanes)):
        count = _draws_before(stop, first_lane, lanes) - _draws_before(start, first_lane, lanes)
        run_stop = place + count * (stop_lane - first_lane)
        at, end = max(low, place), min(high, run_stop)
        while at < end:
            lane, skipped = divmod(at - place, count)
            lane += first_lane
            taken = min(count - skipped, end - at)
            yield lane, _draws_before(start, lane, lanes) + skipped, taken, at
            at += taken
        place = run_stop
