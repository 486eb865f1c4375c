"""A worker's share of several steps at once, as arrays: what :meth:`distmtl.data.plan.Plan.cut` says of each.

Planning step by step costs a few Python objects per lane and step, more than a small batch's copy. Here the lanes of
all steps of a group are cut in one go, whatever the number of rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.data.sequence import Int64

_FEW_LANES = 64
"""Sources with at most this many lanes are cut by arrays over all lanes; with more, only the worker's own are met."""


class Cuts(NamedTuple):
    """Consecutive draws of lanes ``[S]`` that are a worker's rows of one source, in the order of the steps' lists."""

    step: Int64
    """Which step of the group."""
    lane: Int64
    first: Int64
    """The lane's first draw, counted from the start of the run."""
    rows: Int64

    def upto(self, steps: int) -> "Cuts":
        """Those of the group's first steps."""
        return Cuts(*(column[: int(np.searchsorted(self.step, steps))] for column in self))

    def past(self, steps: int) -> "Cuts":
        """Those of the steps after, which count from 0 again."""
        rest = Cuts(*(column[int(np.searchsorted(self.step, steps)) :] for column in self))
        return rest._replace(step=rest.step - steps)


class StepGroup(NamedTuple):
    """Consecutive steps, and a worker's share of them.

    Attributes:
        first: The first step.
        quotas: Rows of each source in each step, over all workers ``[G][sources]``.
        drawn: Rows of each source drawn before each step and after the last ``[G + 1, sources]``.
        places: Place of the worker's first row in the step's global row list ``[G, sources]``.
        rows: The worker's rows ``[G, sources]``.
        cuts: The worker's rows, by source.
    """

    first: int
    quotas: tuple[tuple[int, ...], ...]
    drawn: Int64
    places: Int64
    rows: Int64
    cuts: tuple[Cuts, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.quotas)

    def parted(self, steps: int) -> tuple["StepGroup", "StepGroup"]:
        """The first so many steps, and those after."""
        head = StepGroup(
            self.first,
            self.quotas[:steps],
            self.drawn[: steps + 1],
            self.places[:steps],
            self.rows[:steps],
            tuple(cuts.upto(steps) for cuts in self.cuts),
        )
        tail = StepGroup(
            self.first + steps,
            self.quotas[steps:],
            self.drawn[steps:],
            self.places[steps:],
            self.rows[steps:],
            tuple(cuts.past(steps) for cuts in self.cuts),
        )
        return head, tail


def plan_steps(plan: Plan, mixture: Mixture, first: int, steps: int, rank: int, size: int) -> StepGroup:
    """A worker's share of the steps ``first .. first + steps - 1``."""
    table = mixture.drawn_before(range(first, first + steps + 1))
    counts = np.diff(table, axis=0)
    quotas = tuple(map(tuple, counts.tolist()))
    ends = np.cumsum(counts, axis=1)
    places, total = ends - counts, ends[:, -1:]
    lows = np.clip(rank * total // size - places, 0, counts)
    highs = np.clip((rank + 1) * total // size - places, 0, counts)
    cuts = tuple(
        cut_steps(plan, source, table[:, source], lows[:, source], highs[:, source]) for source in range(table.shape[1])
    )
    return StepGroup(first, quotas, table, places + lows, highs - lows, cuts)


def cut_steps(plan: Plan, source: int, drawn: Int64, lows: Int64, highs: Int64) -> Cuts:
    """The cut ``lows[g]..highs[g]`` of each step's list of a source's draws ``drawn[g]..drawn[g + 1]``.

    Args:
        plan: The plan.
        source: Index of the source.
        drawn: Its rows drawn before each step and after the last ``[G + 1]``.
        lows: Where the worker's share of each step's list begins ``[G]``.
        highs: Where it ends ``[G]``.
    """
    lanes, rows = plan.lanes_of(source), plan.layouts[source].rows
    if lanes == 1:
        some = np.flatnonzero(highs > lows)
        return Cuts(some, np.zeros_like(some), (drawn[:-1] + lows)[some], (highs - lows)[some])
    if lanes <= _FEW_LANES:
        ends = np.arange(drawn[0] // rows + 1, (drawn[-1] - 1) // rows + 1) * rows
        if not ends.size:
            return _cut_lanes(lanes, rows, drawn, lows, highs)
        # A step that goes on into the next pass is cut as if it were two.
        edges = np.unique(np.concatenate((drawn, ends)))
        step = np.searchsorted(drawn, edges[:-1], side="right") - 1
        before, sizes = edges[:-1] - drawn[step], np.diff(edges)
        cuts = _cut_lanes(lanes, rows, edges, *(np.clip(bounds[step] - before, 0, sizes) for bounds in (lows, highs)))
        return cuts._replace(step=step[cuts.step])
    return _listed(
        [
            (step, lane, first, count)
            for step, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True))
            if low < high
            for lane, first, count, _ in plan.cut_source(source, (int(drawn[step]), int(drawn[step + 1])), low, high)
        ]
    )


def _cut_lanes(lanes: int, rows: int, drawn: Int64, lows: Int64, highs: Int64) -> Cuts:
    """All lanes of steps that lie within one pass each."""
    starts, stops, lane = drawn[:-1], drawn[1:], np.arange(lanes)
    passes = starts // rows
    begin, before = passes * rows, passes[:, None] * _before(rows, lane, lanes)
    first = _before((starts - begin)[:, None], lane, lanes)
    counts = _before((stops - begin)[:, None], lane, lanes) - first
    edges = np.cumsum(counts, axis=1)
    low = np.maximum(lows[:, None], edges - counts)
    taken = np.minimum(highs[:, None], edges) - low
    steps, found = np.nonzero(taken > 0)
    skipped = low - (edges - counts)
    return Cuts(steps, found, (before + first + skipped)[steps, found], taken[steps, found])


def _before(draws: Int64 | int, lane: Int64, lanes: int) -> Int64:
    """How many of a pass's first ``draws`` are each lane's."""
    counts: Int64 = draws // lanes + (lane < draws % lanes)
    return counts


def _listed(found: Sequence[tuple[int, int, int, int]]) -> Cuts:
    return Cuts(*np.array(found, dtype=np.int64).reshape(-1, 4).T)
