"""Making batches: the plan is followed ahead, rows are read in time, gathered for several steps, and transformed."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch, StepBatch
from distmtl.data.blocks import LoaderSource, bytes_of, slice_rows
from distmtl.data.cuts import StepGroup, plan_steps
from distmtl.data.decode import Decoded
from distmtl.data.feed import Feeds
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.data.transformed import Pending, RowPlaces, Stage

GROUP_STEPS = 32
"""Batches that are planned, gathered and handed over together at most."""

GROUP_BYTES = 8 * 2**20
"""And bytes that these may have: small batches cost mostly the calls, not the copies."""

READ_AHEAD_STEPS = 128
"""How far ahead of the batch in the making the plan is followed to find what to read next."""

READ_AHEAD_BYTES = 128 * 2**20
"""Rows that may be read before any batch draws from them; a step's own are read in any case."""

PLAN_BYTES = 32 * 2**20
"""Rows that are planned at a time at most; large batches are few, and are gathered one by one."""

Made = tuple[list[StepBatch], int]
"""Batches, and the bytes of all of them."""


@dataclass(frozen=True)
class Share:
    """Whose batches are made, and how."""

    rank: int
    size: int
    group_bytes: int
    pin: bool


class Assembler:
    """Makes one worker's batches in the order of the steps. Used by one thread.

    Args:
        sources: The sources, in the order of the plan's layouts.
        plan: The plan.
        mixture: The mixture log; may be replaced by a longer one.
        share: The worker.
        start: The first step.
        stage: The sources' transforms.
    """

    def __init__(
        self, sources: Sequence[LoaderSource], plan: Plan, mixture: Mixture, share: Share, start: int, stage: Stage
    ) -> None:
        self.mixture = mixture
        self.stage = stage
        self.feeds = Feeds(sources, plan, share.size)
        self._names, self._plan, self._share = [source.name for source in sources], plan, share
        self._transformed = {number for number, source in enumerate(sources) if source.transform is not None}
        self._next = start  # the first step that is not planned
        self._planned: deque[_Planned] = deque()
        self._ahead_bytes = 0
        self._begun: deque[_Begun] = deque()
        # Steps that are planned and gathered together: not known before the first batch, which stands alone, for
        # nobody shall wait for more.
        self._plan_steps = self._group_steps = 0

    def make(self, step: int, horizon: int | None) -> Made:
        """The batches of a step and perhaps of some after it; they lie before the horizon.

        Batches whose transforms run here come one by one, for each takes its time.
        """
        until = step + READ_AHEAD_STEPS if horizon is None else min(horizon, step + READ_AHEAD_STEPS)
        while not self._begun or (len(self._begun) <= self.stage.steps_ahead and self._is_next_read(until)):
            self._plan_ahead(until)
            self._begun += self._gather(self._take_group())
        if self._transformed:
            return self._finish([self._begun.popleft()])
        begun, self._begun = self._begun, deque()
        return self._finish(begun)

    def _plan_ahead(self, until: int) -> None:
        while not self._planned or (
            0 < self._plan_steps <= until - self._next and self._ahead_bytes < READ_AHEAD_BYTES
        ):
            self._plan_group(max(1, min(self._plan_steps, until - self._next)))

    def _plan_group(self, steps: int) -> None:
        group = plan_steps(self._plan, self.mixture, self._next, steps, self._share.rank, self._share.size)
        opened = 0
        for source, cuts in enumerate(group.cuts):
            if cuts.lane.size:
                opened += self.feeds.of(source).open(cuts)
        self._planned.append(_Planned(group, opened))
        self._ahead_bytes += opened
        self._next += steps

    def _take_group(self) -> StepGroup:
        """The next planned steps, as many as are gathered at once; only those whose rows are read, if some are."""
        group, opened = self._planned.popleft()
        steps = max(1, min(self._group_steps, self._steps_read(group)))
        if steps < group.steps:
            of_rest = opened * (group.steps - steps) // group.steps
            group, rest = group.parted(steps)
            self._planned.appendleft(_Planned(rest, of_rest))
            opened -= of_rest
        self._ahead_bytes -= opened
        return group

    def _steps_read(self, group: StepGroup) -> int:
        """Of a group's steps, how many at the beginning have all their rows in memory."""
        present = [source for source, cuts in enumerate(group.cuts) if cuts.lane.size]
        return min((self.feeds.of(source).steps_read(group.cuts[source], group.steps) for source in present),
                   default=group.steps)  # fmt: skip

    def _is_next_read(self, until: int) -> bool:
        """Whether another step can be begun without waiting."""
        if not self._planned and self._next < until and self._plan_steps:
            self._plan_ahead(until)
        return bool(self._planned) and self._steps_read(self._planned[0].group) > 0

    def _gather(self, group: StepGroup) -> list["_Begun"]:
        names = self._names
        begun = [
            _Begun(group.first + step, dict(zip(names, quotas, strict=True)))
            for step, quotas in enumerate(group.quotas)
        ]
        size = 0
        for source, cuts in enumerate(group.cuts):
            present = [step for step, quotas in enumerate(group.quotas) if quotas[source]]
            if not present:
                continue
            feed = self.feeds.of(source)
            rows = feed.gather(cuts, pin=self._share.pin) if cuts.lane.size else self.feeds.empty(source)
            places = feed.places(cuts) if source in self._transformed else None
            size += bytes_of(rows)
            self._deal(group, source, rows, places, [begun[step] for step in present], present)
            feed.release(int(group.drawn[-1, source]))
        self._plan_steps, self._group_steps = (
            max(1, min(GROUP_STEPS, limit * group.steps // max(1, size)))
            for limit in (max(PLAN_BYTES, self._share.group_bytes), self._share.group_bytes)
        )
        for one in begun:
            one.bytes = size // group.steps
            if one.raw:
                one.pending = self.stage.begin(one.step, one.raw, one.places)
        return begun

    def _deal(
        self,
        group: StepGroup,
        source: int,
        rows: Decoded,
        places: RowPlaces | None,
        begun: Sequence["_Begun"],
        steps: Sequence[int],
    ) -> None:
        """Give each step its rows of a source: views of what was gathered for all of them."""
        counts: list[int] = group.rows[steps, source].tolist()
        if rows.rows != sum(counts):
            raise AssertionError("the gathered rows are not those of the plan")
        positions = [*map(_positions, group.places[steps, source].tolist(), counts)]
        if places is None:
            inputs = _split_columns(rows.inputs, counts)
            targets = _split_columns(rows.targets, counts)
            weights = [None] * len(counts) if rows.weights is None else rows.weights.split(counts)
            made = map(SourceBatch, repeat(self._names[source]), inputs, targets, weights, positions)
            for one, batch in zip(begun, made, strict=True):
                one.batches[source] = batch
            return
        at = 0
        for one, count, places_of in zip(begun, counts, positions, strict=True):
            one.raw[source] = slice_rows(rows, at, at + count)
            one.places[source] = RowPlaces(places.passes[at : at + count], places.numbers[at : at + count])
            one.positions[source] = places_of
            at += count

    def _finish(self, begun: Sequence["_Begun"] | deque["_Begun"]) -> Made:
        for one in begun:
            if one.pending is not None:
                self._transform(one, one.pending)
        return (
            [StepBatch(one.step, tuple(one.batches.values()), one.quotas) for one in begun],
            sum(one.bytes for one in begun),
        )

    def _transform(self, begun: "_Begun", pending: Pending) -> None:
        """Put the rows that are transformed among the others, in the order of the sources."""
        for source, rows in self.stage.finish(pending).items():
            positions = begun.positions[source]
            batch = SourceBatch(self._names[source], rows.inputs, rows.targets, rows.weights, positions)
            begun.batches[source] = batch
        begun.batches = dict(sorted(begun.batches.items()))
        begun.bytes = sum(map(_batch_bytes, begun.batches.values()))


class _Planned(NamedTuple):
    """Steps whose rows are being read, and the bytes of what was opened for them."""

    group: StepGroup
    opened_bytes: int


class _Begun:
    """A step whose rows are gathered, by source; transforms of some may be under way."""

    def __init__(self, step: int, quotas: Mapping[str, int]) -> None:
        self.step, self.quotas = step, quotas
        self.batches: dict[int, SourceBatch] = {}
        self.raw: dict[int, Decoded] = {}
        self.places: dict[int, RowPlaces] = {}
        self.positions: dict[int, Tensor] = {}
        self.pending: Pending | None = None
        self.bytes = 0


@lru_cache(maxsize=256)
def _positions(place: int, rows: int) -> Tensor:
    """Places of the worker's rows in the step's list; about the same in every step."""
    return torch.arange(place, place + rows)


def _split_columns(columns: Mapping[str, Tensor], counts: list[int]) -> list[dict[str, Tensor]]:
    """The columns of each of several steps."""
    if not columns:
        return [{} for _ in counts]
    steps = zip(*(torch.split_with_sizes(tensor, counts) for tensor in columns.values()), strict=True)
    return [dict(zip(columns, tensors, strict=True)) for tensors in steps]


def _batch_bytes(batch: SourceBatch) -> int:
    weights = () if batch.weights is None else (batch.weights,)
    return sum(tensor.nbytes for tensor in (*batch.inputs.values(), *batch.targets.values(), *weights))
