"""The loader: one worker's batches, step after step, made ahead in the background.

It can be used alone in any PyTorch loop::

    with Loader(sources, plan, mixture, rank, size) as loader:
        for batch in loader:
            ...
"""

import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from operator import sub
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch, StepBatch
from distmtl.data.decode import Decoded
from distmtl.data.mixture import Mixture, MixtureEntry
from distmtl.data.plan import Plan
from distmtl.data.prefetch import Prefetch
from distmtl.data.windows import LoaderSource, Piece, Windows, bytes_of, combine, slice_rows
from distmtl.errors import InputError

PREFETCH_STEPS = 16
"""Batches that may wait for their use."""

READ_AHEAD_STEPS = 64
"""How far ahead of the batch in the making the plan is followed to find the windows to read next."""

READ_AHEAD_WINDOWS = 64
"""Windows that may be open before any batch draws from them; a step's own windows are opened in any case."""

GROUP_BYTES = 2 * 2**20
"""Batches are gathered together up to this size: small ones cost mostly the calls, not the copies."""


class Loader:
    """Iterates over one worker's :class:`~distmtl.data.batch.StepBatch`, from a step on.

    Iteration ends at the horizon, the first step whose mixture is not known yet, and can go on after :meth:`extend`.
    An error in a background thread is raised by the ``next`` that would have given the batch of its step.

    Args:
        sources: The sources, in the order of the plan's layouts.
        plan: The plan.
        mixture: The mixture log.
        rank: The worker.
        size: The number of workers.
        start: The first step.
        horizon: The step at which to stop; None: never.
        prefetch_bytes: Bytes that prepared batches may have in all; at least one is prepared.
        pin: Whether batches lie in page-locked memory, so that copies to a GPU overlap with its work.

    Attributes:
        step: The next step.
        mixture: The mixture log.
        horizon: The step at which iteration ends.
    """

    def __init__(  # noqa: PLR0913 - each is one plain fact about the worker
        self,
        sources: Sequence[LoaderSource],
        plan: Plan,
        mixture: Mixture,
        rank: int = 0,
        size: int = 1,
        start: int = 0,
        *,
        horizon: int | None = None,
        prefetch_bytes: int = 256 * 2**20,
        pin: bool = False,
    ) -> None:
        names = tuple(source.name for source in sources)
        if names != mixture.sources or names != tuple(layout.name for layout in plan.layouts):
            raise InputError(f"the loader's sources {names} are not those of the plan and the mixture, in their order.")
        self.step, self.mixture, self.horizon = start, mixture, horizon
        self._sources, self._plan, self._rank, self._size = tuple(sources), plan, rank, size
        self._prefetch_bytes, self._pin = prefetch_bytes, pin
        self._worker: _Worker | None = None
        self._finalizer: weakref.finalize[..., Loader] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StepBatch:
        if self._worker is None:
            self._worker = self._start()
            # The threads know nothing of the loader, so a forgotten one is collected, and ends them.
            self._finalizer = weakref.finalize(self, self._worker.close, wait=False)
        batch = self._worker.prefetch.get()
        if batch is None:
            raise StopIteration
        self.step = batch.step + 1
        return batch

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        """Go on to a later horizon, with a mixture log that has entries from the present one on.

        Raises:
            InputError: The new log or horizon contradicts steps that may be planned already.
        """
        settled = self.horizon
        if settled is None:
            raise InputError("a loader without a horizon cannot be extended.", remedy="Give it one.")
        if (horizon is not None and horizon < settled) or _until(mixture, settled) != _until(self.mixture, settled):
            raise InputError(
                f"steps before {settled} cannot change: they may be planned already.",
                remedy="Let a new mixture take effect at the loader's horizon or later.",
            )
        self.mixture, self.horizon = mixture, horizon
        if self._worker is not None:
            self._worker.extend(mixture, horizon)

    def close(self) -> None:
        """End the background threads and drop what they prepared. Iterating again starts them anew."""
        worker, self._worker = self._worker, None
        if worker is not None and self._finalizer is not None:
            self._finalizer.detach()
            worker.close(wait=True)

    def _start(self) -> "_Worker":
        assembler = _Assembler(
            self._sources, self._plan, self.mixture, (self._rank, self._size), self.step, pin=self._pin
        )
        prefetch = Prefetch(assembler.make, self.step, self.horizon, PREFETCH_STEPS, self._prefetch_bytes)
        return _Worker(assembler, prefetch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a loader of any rank and size needs to go on: plain JSON."""
        return {"step": self.step, "horizon": self.horizon, "mixture": self.mixture.to_json()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the loader that gave ``state`` stood."""
        self.close()
        self.step, self.horizon, self.mixture = state["step"], state["horizon"], Mixture.from_json(state["mixture"])


class _Worker(NamedTuple):
    """The threads behind a loader."""

    assembler: "_Assembler"
    prefetch: Prefetch[StepBatch]

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        self.assembler.mixture = mixture  # before the horizon, so that no step is planned with the old one
        self.prefetch.extend(horizon)

    def close(self, *, wait: bool) -> None:
        self.assembler.windows.close(wait=wait)
        self.prefetch.close(wait=wait)


class _PlannedStep(NamedTuple):
    """A step whose windows are open."""

    step: int
    quotas: tuple[int, ...]
    places: dict[int, int]
    """Place in the step's global list of the worker's first row, by source."""
    pieces: dict[int, list[Piece]]
    """The worker's rows, by source."""
    opened: int
    """Windows opened for it."""


class _Assembler:
    """Makes batches: follows the plan ahead so that windows are read in time, then gathers their rows."""

    def __init__(
        self,
        sources: Sequence[LoaderSource],
        plan: Plan,
        mixture: Mixture,
        worker: tuple[int, int],
        start: int,
        *,
        pin: bool,
    ) -> None:
        self.mixture = mixture
        self.windows = Windows(sources, plan)
        self._sources, self._plan, self._pin = sources, plan, pin
        self._rank, self._size = worker
        self._next, self._drawn = start, mixture.drawn(start)
        self._planned: deque[_PlannedStep] = deque()
        self._ahead = 0  # windows opened for the planned steps
        self._ready: deque[tuple[StepBatch, int]] = deque()
        self._step_bytes = GROUP_BYTES  # of the last batch; the first one stands alone

    def make(self, step: int, horizon: int | None) -> tuple[StepBatch, int]:
        """The batch of a step, and its bytes. Steps come one after the other and lie before the horizon."""
        until = step + READ_AHEAD_STEPS if horizon is None else min(horizon, step + READ_AHEAD_STEPS)
        while not (self._planned or self._ready) or (self._next < until and self._ahead < READ_AHEAD_WINDOWS):
            self._plan_step()
        if not self._ready:
            self._ready.extend(self._gather(self._group()))
        return self._ready.popleft()

    def _group(self) -> list[_PlannedStep]:
        """The next planned step, and those after it that are read already and few enough bytes."""
        group = [self._planned.popleft()]
        while (
            self._planned
            and len(group) * self._step_bytes < GROUP_BYTES
            and all(piece.is_read for pieces in self._planned[0].pieces.values() for piece in pieces)
        ):
            group.append(self._planned.popleft())
        self._ahead -= sum(planned.opened for planned in group)
        return group

    def _plan_step(self) -> None:
        before, after = self._drawn, self.mixture.drawn(self._next + 1)
        opened = self.windows.opened
        places: dict[int, int] = {}
        pieces: dict[int, list[Piece]] = {}
        for segment in self._plan.cut(before, after, self._rank, self._size):
            places.setdefault(segment.source, segment.place)
            pieces.setdefault(segment.source, []).extend(self.windows.pieces(segment, before[segment.source]))
        quotas = tuple(map(sub, after, before))
        opened = self.windows.opened - opened
        self._planned.append(_PlannedStep(self._next, quotas, places, pieces, opened))
        self._ahead += opened
        self._next, self._drawn = self._next + 1, after

    def _gather(self, group: Sequence[_PlannedStep]) -> list[tuple[StepBatch, int]]:
        columns = {
            number: self._columns(number, [planned.pieces.get(number, []) for planned in group])
            for number in range(len(self._sources))
            if any(planned.quotas[number] for planned in group)
        }
        return [
            self._batch(planned, {number: columns[number][at] for number, quota in enumerate(planned.quotas) if quota})
            for at, planned in enumerate(group)
        ]

    def _batch(self, planned: _PlannedStep, columns: Mapping[int, Decoded]) -> tuple[StepBatch, int]:
        parts = []
        for number, rows in columns.items():
            place = planned.places.get(number, 0)
            positions = torch.arange(place, place + rows.rows)
            source = self._sources[number].name
            parts.append(SourceBatch(source, rows.inputs, rows.targets, rows.weights, positions))
        quotas = dict(zip(self.mixture.sources, planned.quotas, strict=True))
        self._step_bytes = sum(bytes_of(rows) for rows in columns.values())
        return StepBatch(planned.step, tuple(parts), quotas), self._step_bytes

    def _columns(self, source: int, steps: Sequence[Sequence[Piece]]) -> list[Decoded]:
        """The rows of each step, gathered in one go."""
        pieces = [piece for step in steps for piece in step]
        together = self._rows(pieces) if pieces else self.windows.empty(source)
        if together.rows != sum(piece.stop - piece.start for piece in pieces):
            raise AssertionError("the gathered rows are not those of the plan")
        if len(steps) == 1:
            return [together]
        stops = list(accumulate(sum(piece.stop - piece.start for piece in step) for step in steps))
        return [slice_rows(together, start, stop) for start, stop in pairwise((0, *stops))]

    def _rows(self, pieces: Sequence[Piece]) -> Decoded:
        columns, orders = zip(*(piece.load() for piece in pieces), strict=True)
        if len(pieces) > 1 and all(other is columns[0] for other in columns):
            columns, orders = columns[:1], (torch.cat(orders),)
        return combine(columns, lambda tensors: _take_rows(tensors, orders, pin=self._pin))


def _take_rows(tensors: Sequence[Tensor], orders: Sequence[Tensor], *, pin: bool) -> Tensor:
    """Some rows of each tensor, one after the other: one copy of each row, whatever the number of tensors.

    Page-locked memory comes from torch's cache, which reuses a batch's once its copies to the GPU are done.
    """
    if len(tensors) == 1 and not pin:
        return tensors[0].index_select(0, orders[0])  # half the time of the general way, on a small batch
    rows = sum(order.shape[0] for order in orders)
    out = torch.empty((rows, *tensors[0].shape[1:]), dtype=tensors[0].dtype, pin_memory=pin)
    start = 0
    for tensor, order in zip(tensors, orders, strict=True):
        stop = start + order.shape[0]
        torch.index_select(tensor, 0, order, out=out[start:stop])
        start = stop
    return out


def _until(mixture: Mixture, step: int) -> list[MixtureEntry]:
    return [entry for entry in mixture.entries if entry.first_step < step]
