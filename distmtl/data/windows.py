"""The windows that a worker draws from: read in the background, decoded once, dropped when exhausted."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from distmtl.data.decode import Decoded
from distmtl.data.plan import Blocks, Plan, Segment, Window
from distmtl.data.resident import RESIDENT_BYTES, Table

CACHE_BYTES = 64 * 2**20
"""Decoded blocks kept for the windows that share them: neighbouring lanes, and the passes of a small source."""

READERS = 4
"""Threads that read and decode blocks; they mostly wait for the store."""


class BlockSplit(Blocks, Protocol):
    """The blocks of a packed split; :class:`distmtl.data.source.Split` is one."""

    def read_block(self, index: int, columns: Sequence[str]) -> Any:
        """Columns of a block as a ``pyarrow.Table``. Called from several threads."""
        ...


class BlockDecoder(Protocol):
    """Turns blocks into tensors; :class:`distmtl.data.decode.Decoder` is one."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns that it needs."""
        ...

    def decode(self, table: Any) -> Decoded:
        """The rows of a block, in its order. Called from several threads."""
        ...


@dataclass(frozen=True)
class LoaderSource:
    """A source as the loader reads it."""

    name: str
    split: BlockSplit
    decoder: BlockDecoder


def combine(parts: Sequence[Decoded], function: Callable[[list[Tensor]], Tensor]) -> Decoded:
    """Apply a function to each column of several parts of one source: ``combine(parts, torch.cat)`` joins them."""
    first = parts[0]
    weights = [part.weights for part in parts if part.weights is not None]
    return Decoded(
        inputs={name: function([part.inputs[name] for part in parts]) for name in first.inputs},
        targets={name: function([part.targets[name] for part in parts]) for name in first.targets},
        weights=function(weights) if weights else None,
    )


def slice_rows(columns: Decoded, start: int, stop: int) -> Decoded:
    """A view of the rows ``start..stop``."""
    return combine([columns], lambda tensors: tensors[0][start:stop])


def bytes_of(columns: Decoded) -> int:
    """Bytes of all columns."""
    weights = () if columns.weights is None else (columns.weights,)
    return sum(tensor.nbytes for tensor in (*columns.inputs.values(), *columns.targets.values(), *weights))


class BlockCache:
    """Decoded blocks by source and number. Each is read once however many threads ask; the stalest leave first."""

    def __init__(self, sources: Sequence[LoaderSource], limit_bytes: int) -> None:
        self._sources = sources
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._blocks: OrderedDict[tuple[int, int], Future[Decoded]] = OrderedDict()
        self._lock = Lock()

    def get(self, source: int, block: int) -> Decoded:
        """A block; raises what reading or decoding it raises."""
        place = source, block
        with self._lock:
            future = self._blocks.get(place)
            absent = future is None
            if future is None:
                future = self._blocks[place] = Future()
            self._blocks.move_to_end(place)
        if absent:
            self._fill(place, future)
        return future.result()

    def _fill(self, place: tuple[int, int], future: Future[Decoded]) -> None:
        source = self._sources[place[0]]
        try:
            decoded = source.decoder.decode(source.split.read_block(place[1], source.decoder.columns))
        except BaseException as error:
            with self._lock:
                del self._blocks[place]  # whoever asks later tries again
            future.set_exception(error)
            return
        with self._lock:
            self._bytes += bytes_of(decoded)
            future.set_result(decoded)
            for other in [key for key, block in self._blocks.items() if block.done()]:
                if self._bytes <= self._limit_bytes:
                    break
                self._bytes -= bytes_of(self._blocks.pop(other).result())


class WindowRows(NamedTuple):
    """A window in memory: its rows, and which of them each draw takes ``[draws]`` int64."""

    columns: Decoded
    order: Tensor


class OpenWindow(NamedTuple):
    """A window whose rows are being read, or are there."""

    window: Window
    rows: "Future[WindowRows]"


class Piece(NamedTuple):
    """Draws ``start..stop`` of a window, or of a pass of a small source, counted from its first."""

    source_rows: "Future[WindowRows]"
    start: int
    stop: int

    @property
    def is_read(self) -> bool:
        """Whether :meth:`load` returns at once and does not raise."""
        return self.source_rows.done() and self.source_rows.exception() is None

    def load(self) -> tuple[Decoded, Tensor]:
        """The window's columns, and the rows of them to take ``[stop - start]``. Waits until they are read."""
        rows = self.source_rows.result()
        return rows.columns, rows.order[self.start : self.stop]


class Windows:
    """The open windows of one worker.

    Used by one thread, which asks for segments in the order of the steps; reading happens in others.

    Args:
        sources: The sources, in the run's order.
        plan: The plan of those sources.
    """

    def __init__(self, sources: Sequence[LoaderSource], plan: Plan) -> None:
        self._plan = plan
        self._cache = BlockCache(sources, CACHE_BYTES)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="distmtl-read")
        self._closed = False
        # By source and lane: a lane has one open window, or two or three about where one follows on another.
        self._open: list[dict[int, list[OpenWindow]]] = [{} for _ in sources]
        self._empty: dict[int, Decoded] = {}
        self._tables: dict[int, Table | None] = {}
        self._passes: dict[int, dict[int, Future[WindowRows]]] = {}
        self.opened = 0
        """How many windows were ever opened."""

    def pieces(self, segment: Segment, before: int) -> list[Piece]:
        """The windows' parts that make up a segment; opens those that are not open.

        Args:
            segment: Draws of a lane.
            before: Draws of the source before the segment's step: a window that ends there is dropped.
        """
        if (table := self._table(segment.source)) is not None:
            return self._resident_pieces(table, segment, before)
        pieces = []
        draw, stop = segment.first, segment.first + segment.rows
        while draw < stop:
            found = self._find(segment.source, segment.lane, draw, before)
            until = min(stop, found.window.stop)
            pieces.append(Piece(found.rows, draw - found.window.first, until - found.window.first))
            draw = until
        return pieces

    def empty(self, source: int) -> Decoded:
        """No rows of a source, in the shapes that its rows have."""
        if source not in self._empty:
            self._empty[source] = slice_rows(self._cache.get(source, 0), 0, 0)
        return self._empty[source]

    def close(self, *, wait: bool = True) -> None:
        """Stop reading; with ``wait``, return when the reads under way have ended."""
        self._closed = True
        self._readers.shutdown(wait=wait, cancel_futures=True)

    def _find(self, source: int, lane: int, draw: int, before: int) -> OpenWindow:
        lanes = self._open[source]
        for found in lanes.get(lane, ()):
            if found.window.first <= draw < found.window.stop:
                return found
        for other in list(lanes):
            lanes[other] = [found for found in lanes[other] if found.window.end > before]
            if not lanes[other]:
                del lanes[other]
        window = self._plan.window(source, lane, draw)
        found = OpenWindow(window, self._readers.submit(self._load, window))
        lanes.setdefault(lane, []).append(found)
        self.opened += 1
        return found

    def _resident_pieces(self, table: Table, segment: Segment, before: int) -> list[Piece]:
        """As :meth:`pieces`, with whole passes for windows; a lone lane's segment may span several."""
        source, lane = segment.source, segment.lane
        begin, end = (self._plan.lane_start(source, number) for number in (lane, lane + 1))
        pieces = []
        draw, stop = segment.first, segment.first + segment.rows
        while draw < stop:
            pass_, done = self._plan.pass_of(source, lane, draw)
            rows = min(stop - draw, end - begin - done)
            pieces.append(Piece(self._pass_rows(table, source, pass_, before), begin + done, begin + done + rows))
            draw += rows
        return pieces

    def _pass_rows(self, table: Table, source: int, pass_: int, before: int) -> "Future[WindowRows]":
        passes = self._passes.setdefault(source, {})
        if pass_ not in passes:
            rows = self._plan.layouts[source].rows
            for other in [number for number in passes if (number + 1) * rows <= before]:
                del passes[other]
            passes[pass_] = self._readers.submit(self._load_pass, table, source, pass_)
            self.opened += 1
        return passes[pass_]

    def _load_pass(self, table: Table, source: int, pass_: int) -> WindowRows:
        return WindowRows(table.rows(), table.numbers(*self._plan.locate_pass(source, pass_)))

    def _table(self, source: int) -> Table | None:
        """The source as one table if it is small; one of a single block is a window of its own already."""
        if source not in self._tables:
            layout = self._plan.layouts[source]
            self._tables[source] = None
            if layout.blocks > 1:
                block = self._cache.get(source, 0)
                if bytes_of(block) * layout.rows <= RESIDENT_BYTES * block.rows:
                    read = partial(self._cache.get, source)
                    self._tables[source] = Table(layout.blocks, read, lambda parts: combine(parts, torch.cat))
        return self._tables[source]

    def _load(self, window: Window) -> WindowRows:
        parts = []
        for block, start, stop in window.blocks:
            if self._closed:
                raise InterruptedError("the loader was closed")
            parts.append(slice_rows(self._cache.get(window.source, block), start, stop))
        columns = parts[0] if len(parts) == 1 else combine(parts, torch.cat)
        return WindowRows(columns, torch.from_numpy(window.order()))
