"""Where the rows of a source lie while a worker draws from them: whole in memory, or a window here and there.

Both give a lane's draws in *stretches*: consecutive draws whose rows a background thread reads, puts where ``columns``
has them, and lists in ``order`` by draw. So any number of draws of any number of lanes is one look-up in ``order`` and
one ``index_select`` per column.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import accumulate
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distmtl.data.blocks import combine, every_column, slice_rows
from distmtl.data.decode import Decoded
from distmtl.data.plan import Plan, Window
from distmtl.data.resident import Table
from distmtl.data.sequence import BlockSequence, Int64
from distmtl.data.tensors import WIDE_ROW_BYTES
from distmtl.store.buffers import BUFFERS

Submit = Callable[..., "Future[None]"]
"""Runs a function with its arguments in a background thread."""

_ALIGNED_BYTES = 64
"""Columns that share a buffer begin at a multiple of this."""


class Stretch(NamedTuple):
    """Consecutive draws of a lane, counted from the start of the run.

    Attributes:
        first: The first draw.
        stop: The draw after the last.
        end: Number of the source's draws after which none of these is left.
        place: What the stock calls the first draw; those after it have the numbers after it.
        slot: What the stock calls the memory that it takes.
        read: Done when the rows are there; holds what reading them raised.
    """

    first: int
    stop: int
    end: int
    place: int
    slot: int
    read: "Future[None]"


class Stock(Protocol):
    """The rows of a source as far as they are in memory."""

    def reserve(self, stretches: int) -> None:
        """Make room for so many stretches more, all at once."""
        ...

    def open(self, lane: int, draw: int) -> Stretch:
        """Begin to read the stretch that holds a lane's draw."""
        ...

    def take(self, draws: Int64, *, pin: bool) -> Decoded:
        """The rows of draws ``[N]``, copied into memory of their own; see ``Stretch.place``."""
        ...

    def numbers(self, draws: Int64) -> Int64:
        """Which rows of the split :meth:`take` gives."""
        ...

    def release(self, stretch: Stretch) -> None:
        """Let the memory of a stretch be used for another."""
        ...


class SourceBlocks(Protocol):
    """Decoded blocks of one source."""

    def get(self, block: int) -> Decoded:
        """A block; called from several threads."""
        ...

    def drop(self, block: int) -> None:
        """Nobody will ask for this block again soon."""
        ...


class WindowStock:
    """Windows in slots of one size each, which are used again and again.

    Narrow columns are copied into the slots, so that one ``index_select`` gathers rows of all windows. Wide rows
    (``WIDE_ROW_BYTES`` or more) are left where they were read, and copied one by one when they are drawn.

    Args:
        plan: The plan.
        source: Index of the source.
        blocks: Gives decoded blocks; called from several threads.
        submit: Runs a function in a background thread.
    """

    def __init__(self, plan: Plan, source: int, blocks: SourceBlocks, submit: Submit) -> None:
        layout = plan.layouts[source]
        self._plan, self._source, self._blocks, self._submit = plan, source, blocks, submit
        self._slot_blocks = max(1, min(plan.window_blocks, layout.blocks // plan.lanes_of(source)))
        self._slot_rows = self._slot_blocks * layout.block_rows
        self._free: list[int] = []
        self._slots = 0
        self._reading: set[Future[None]] = set()
        self._columns: Decoded | None = None
        self._wide: dict[int, list[tuple[int, Decoded]]] = {}
        self._lock = Lock()
        self._starts = BlockSequence(layout.block_rows, layout.short_blocks)
        self._order = np.empty(0, np.int64)  # the slots' row that each draw takes
        self._numbers = np.empty(0, np.int64)  # and the number of each of the slots' rows in the split

    def open(self, lane: int, draw: int) -> Stretch:
        """See :class:`Stock`."""
        self.reserve(1)
        slot = self._free.pop()
        window = self._plan.window(self._source, lane, draw)
        read = self._submit(self._read, window, slot)
        self._reading = {other for other in self._reading if not other.done()} | {read}
        return Stretch(window.first, window.stop, window.end, slot * self._slot_rows, slot, read)

    def release(self, stretch: Stretch) -> None:
        """See :class:`Stock`."""
        self._wide.pop(stretch.slot, None)
        self._free.append(stretch.slot)

    def take(self, draws: Int64, *, pin: bool) -> Decoded:
        """See :class:`Stock`."""
        if self._columns is None:
            raise AssertionError("no window is read yet")
        rows = self._order[draws]
        found = take_rows(self._columns, rows, pin=pin)
        if not any(self._wide.values()):
            return found
        parts, places = zip(*(self._part(row) for row in rows.tolist()), strict=True)
        wide = combine(parts, lambda columns: _pick(columns, places, pin=pin))
        return replace(found, inputs={**found.inputs, **wide.inputs}, raw={**found.raw, **wide.raw})

    def _part(self, row: int) -> tuple[Decoded, int]:
        """Where a row of the slots has its wide columns."""
        slot, row = divmod(row, self._slot_rows)
        start, part = next(found for found in reversed(self._wide[slot]) if found[0] <= row)
        return part, row - start

    def numbers(self, draws: Int64) -> Int64:
        """See :class:`Stock`."""
        found: Int64 = self._numbers[self._order[draws]]
        return found

    def reserve(self, stretches: int) -> None:
        """See :class:`Stock`."""
        if stretches > len(self._free):
            self._grow(max(stretches - len(self._free), self._slots))

    def _grow(self, more: int) -> None:
        """More slots. Nobody may write into the old memory while it is copied."""
        for read in self._reading:
            read.exception()
        self._free += range(self._slots, self._slots + more)
        self._slots += more
        rows = self._slots * self._slot_rows
        more_rows = np.empty(rows - self._order.size, np.int64)
        self._order, self._numbers = (np.concatenate([old, more_rows]) for old in (self._order, self._numbers))
        if self._columns is not None:
            old = self._columns
            self._columns = _room(old, rows)
            combine([self._columns, old], lambda tensors: tensors[0][: tensors[1].shape[0]].copy_(tensors[1]))

    def _read(self, window: Window, slot: int) -> None:
        at, place, parts = 0, slot * self._slot_rows, []
        for number, start, stop in window.blocks:
            block = self._blocks.get(number)
            narrow, wide = _by_width(slice_rows(block, start, stop))
            if stop - start == block.rows:
                self._blocks.drop(number)
            with self._lock:
                if self._columns is None:
                    self._columns = _room(narrow, self._slots * self._slot_rows)
            target = slice_rows(self._columns, place + at, place + at + stop - start)
            combine([target, narrow], lambda tensors: tensors[0].copy_(tensors[1]))
            if wide is not None:
                parts.append((at, wide))
            first = self._starts.start(number).item() + start
            self._numbers[place + at : place + at + stop - start] = np.arange(first, first + stop - start)
            at += stop - start
        self._wide[slot] = parts
        self._order[place : place + window.rows] = place + window.order()


class TableStock:
    """A source that lies in memory whole; a stretch is what a lane draws in one pass, or in several tiny ones.

    Args:
        plan: The plan.
        source: Index of the source.
        table: All its rows.
        submit: Runs a function in a background thread.
    """

    def __init__(self, plan: Plan, source: int, table: Table, submit: Submit) -> None:
        self._plan, self._source, self._table, self._submit = plan, source, table, submit
        self._rows = plan.layouts[source].rows
        # By first draw of the source: its slot, how many lanes still hold it, and its reading.
        self._passes: dict[int, _Pass] = {}
        self._free: list[int] = []
        self._slots = 0
        self._slot_draws = 0
        self._order = np.empty(0, np.int64)

    def open(self, lane: int, draw: int) -> Stretch:
        """See :class:`Stock`."""
        if self._plan.layouts[self._source].blocks == 1:
            window = self._plan.window(self._source, lane, draw)
            slot, read = self._order_of(window.first, window.stop - window.first, window.order)
            return Stretch(window.first, window.stop, window.end, slot * self._slot_draws, slot, read)
        pass_, _ = self._plan.pass_of(self._source, lane, draw)
        slot, read = self._order_of(pass_ * self._rows, self._rows, lambda: self._plan.pass_order(self._source, pass_))
        begin, end = (self._plan.lane_start(self._source, number) for number in (lane, lane + 1))
        first = pass_ * (end - begin)
        place = slot * self._slot_draws + begin
        return Stretch(first, first + end - begin, (pass_ + 1) * self._rows, place, slot, read)

    def reserve(self, stretches: int) -> None:
        """See :class:`Stock`: the orders of two passes are few enough to come one by one."""

    def release(self, stretch: Stretch) -> None:
        """See :class:`Stock`."""
        for first, found in list(self._passes.items()):
            if found.slot == stretch.slot:
                found.holders -= 1
                if not found.holders:
                    del self._passes[first]
                    self._free.append(found.slot)

    def take(self, draws: Int64, *, pin: bool) -> Decoded:
        """See :class:`Stock`."""
        return take_rows(self._table.rows(), self._order[draws], pin=pin)

    def numbers(self, draws: Int64) -> Int64:
        """See :class:`Stock`: the table has the rows of the split in their order."""
        found: Int64 = self._order[draws]
        return found

    def _order_of(self, first: int, draws: int, order: Callable[[], Int64]) -> tuple[int, "Future[None]"]:
        found = self._passes.get(first)
        if found is None:
            if not self._free:
                self._grow(draws)
            slot = self._free.pop()
            found = self._passes[first] = _Pass(slot, self._submit(self._read, slot * self._slot_draws, draws, order))
        found.holders += 1
        return found.slot, found.read

    def _grow(self, draws: int) -> None:
        for found in self._passes.values():
            found.read.exception()
        self._slot_draws = draws
        more = max(2, self._slots)
        self._free += range(self._slots, self._slots + more)
        self._slots += more
        self._order = np.concatenate([self._order, np.empty(more * draws, np.int64)])

    def _read(self, place: int, draws: int, order: Callable[[], Int64]) -> None:
        self._table.rows()
        self._order[place : place + draws] = order()


class _Pass:
    """The order of a pass, which all lanes of it share."""

    def __init__(self, slot: int, read: "Future[None]") -> None:
        self.slot, self.read, self.holders = slot, read, 0


def take_rows(columns: Decoded, rows: Int64, *, pin: bool) -> Decoded:
    """Some rows, copied into memory of their own."""
    tensors = [column for column in every_column(columns) if isinstance(column, Tensor)]
    rooms = iter(_rooms(tensors, len(rows), pin=pin))

    def take(parts: Sequence[Any]) -> Any:
        column = parts[0]
        if not isinstance(column, Tensor):
            return column.take(pa.array(rows))
        room = next(rooms)
        # torch.index_select is as fast for wide rows, but half as fast for those of 64 bytes. The rows are within
        # range; 'clip' keeps NumPy from copying through a buffer in case they are not.
        np.take(column.numpy(), rows, axis=0, out=room.numpy(), mode="clip")
        return room

    return combine([columns], take)


def _pick(columns: Sequence[Any], rows: Sequence[int], *, pin: bool) -> Any:
    """Row ``rows[i]`` of ``columns[i]`` ``[N, ...]``."""
    if isinstance(columns[0], Tensor):
        (out,) = _rooms(columns[:1], len(rows), pin=pin)
        # One call copies all rows, and lets other threads run meanwhile; one per row is half as slow again.
        return torch.stack([column[row] for column, row in zip(columns, rows, strict=True)], out=out)
    parts = {id(column): column for column in columns}
    owner = np.array([id(column) for column in columns])
    where = {number: np.flatnonzero(owner == number) for number in parts}
    taken = [parts[number].take(pa.array(np.array(rows)[places])) for number, places in where.items()]
    return pa.concat_arrays(taken).take(pa.array(np.argsort(np.concatenate([*where.values()]))))


def _rooms(like: Sequence[Tensor], rows: int, *, pin: bool = False) -> list[Tensor]:
    """Memory for rows like these, column by column; all of it in one buffer.

    Page-locked memory comes from torch's cache, which reuses a batch's once its copies to the GPU are done.
    """
    shapes = [(rows, *column.shape[1:]) for column in like]
    if pin:
        return [torch.empty(shape, dtype=column.dtype, pin_memory=True)
                for shape, column in zip(shapes, like, strict=True)]  # fmt: skip
    dtypes = [column.numpy().dtype for column in like]
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True)]
    starts = [0, *accumulate(-(-size // _ALIGNED_BYTES) * _ALIGNED_BYTES for size in sizes)]
    buffer = BUFFERS.take(starts[-1])
    # NumPy cuts it, which costs a third of what torch takes for each view.
    cut = [buffer[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    return [torch.from_numpy(part.view(dtype).reshape(shape))
            for part, dtype, shape in zip(cut, dtypes, shapes, strict=True)]  # fmt: skip


def _room(columns: Decoded, rows: int) -> Decoded:
    rooms = iter(_rooms(every_column(columns), rows))
    return combine([columns], lambda _: next(rooms))


def _by_width(columns: Decoded) -> tuple[Decoded, Decoded | None]:
    """The narrow columns, and the wide ones if there are any; text and bytes count as wide."""

    def some(found: Mapping[str, Any], *, wide: bool) -> dict[str, Any]:
        return {name: values for name, values in found.items() if _is_wide(values) == wide}

    if not any(map(_is_wide, (*columns.inputs.values(), *columns.raw.values()))):
        return columns, None
    narrow = replace(columns, inputs=some(columns.inputs, wide=False), raw=some(columns.raw, wide=False))
    return narrow, Decoded(some(columns.inputs, wide=True), {}, None, some(columns.raw, wide=True))


def _is_wide(values: Any) -> bool:
    return not isinstance(values, Tensor) or values[:1].nbytes >= WIDE_ROW_BYTES
