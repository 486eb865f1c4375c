"""The mixture log: how the rows of every step are split over sources, in exact integer arithmetic."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import attrgetter, index, sub
from typing import Any, Literal, Self

import numpy as np

from distmtl.data.sequence import Int64
from distmtl.errors import ConfigError

MAX_WEIGHT = 2**62


@dataclass(frozen=True)
class MixtureEntry:
    """Integer weights that hold from a step on.

    Attributes:
        first_step: The first step that these weights split.
        weights: One per source; 0 gives a source no rows.
        base: Rows of each source drawn before ``first_step``.
    """

    first_step: int
    weights: tuple[int, ...]
    base: tuple[int, ...]


@dataclass(frozen=True)
class Mixture:
    """Every mixture that a run has had or is going to have, and so the number of rows of each source in every step.

    With ``per="row"`` the unit that goes to one source or another is a row, and a step has ``rows`` units; with
    ``per="step"`` it is a whole step. The first k units of the run are split by :func:`split`; an entry takes over
    that split at its first step, in phase, so that even weights that change every step starve no source.

    Attributes:
        sources: Names of the sources, in the run's order.
        per: What the unit is.
        rows: Rows per step, over all workers.
        entries: The log, ascending in ``first_step``; the first entry starts at step 0.

    Raises:
        ConfigError: Weights are not one integer in 0..2**62 per source, all are 0, or entries are out of order.
    """

    sources: tuple[str, ...]
    per: Literal["row", "step"]
    rows: int
    entries: tuple[MixtureEntry, ...]

    def __post_init__(self) -> None:
        first_steps = [entry.first_step for entry in self.entries]
        if first_steps[:1] != [0] or any(a >= b for a, b in pairwise(first_steps)):
            raise ConfigError(
                f"the mixture log has entries at steps {first_steps[-4:]}.",
                remedy="Start at step 0 and give every further entry a later first step.",
            )
        _checked(self.sources, self.entries[-1].weights)

    @classmethod
    def constant(cls, weights: Mapping[str, int], rows: int, per: Literal["row", "step"] = "row") -> Self:
        """The mixture that a run starts with.

        Args:
            weights: Integer weight of each source, in the run's order.
            rows: Rows per step, over all workers.
            per: Whether rows or whole steps go to one source or another.

        Raises:
            ConfigError: A weight is not an integer in 0..2**62, or all are 0.
        """
        sources = tuple(weights)
        return cls(sources, per, rows, (MixtureEntry(0, _checked(sources, [*weights.values()]), (0,) * len(sources)),))

    def drawn(self, step: int) -> tuple[int, ...]:
        """Rows of every source drawn before ``step``; they sum to ``step * rows``, and none ever falls."""
        return tuple(column[0] for column in self._drawn(self._entry(step), range(step, step + 1)))

    def drawn_before(self, steps: range) -> Int64:
        """What :meth:`drawn` says of each of some consecutive steps ``[N, sources]``."""
        found = np.empty((len(steps), len(self.sources)), np.int64)
        first = steps.start
        while first < steps.stop:
            entry = self._entry(first)
            later = next((e.first_step for e in self.entries if e.first_step > first), steps.stop)
            stop = min(later, steps.stop)
            for source, column in enumerate(self._drawn(entry, range(first, stop))):
                found[first - steps.start : stop - steps.start, source] = column
            first = stop
        return found

    def _drawn(self, entry: MixtureEntry, steps: range) -> list[list[int]]:
        """By source, its rows drawn before each of some steps, all of which have the weights of an entry."""
        unit_rows, step_units = (1, self.rows) if self.per == "row" else (self.rows, 1)
        now = split_each([step * step_units for step in steps], entry.weights)
        then = _split_once(entry.first_step * step_units, entry.weights)
        return [
            [base + unit_rows * (k - k0) for k in counts]
            for base, counts, k0 in zip(entry.base, now, then, strict=True)
        ]

    def _entry(self, step: int) -> MixtureEntry:
        return self.entries[bisect_right(self.entries, step, key=attrgetter("first_step")) - 1]

    def quotas(self, step: int) -> tuple[int, ...]:
        """Rows of every source in ``step``; they sum to ``rows``."""
        return tuple(map(sub, self.drawn(step + 1), self.drawn(step)))

    def shares(self, step: int) -> dict[str, float]:
        """Share of each source in the rows around ``step``, by name."""
        weights = self._entry(step).weights
        return {name: weight / sum(weights) for name, weight in zip(self.sources, weights, strict=True)}

    def extended(self, first_step: int, weights: Sequence[int]) -> "Mixture":
        """The mixture in which ``weights`` hold from ``first_step`` on; itself if they already do.

        Raises:
            ConfigError: The weights are not valid, or the last entry starts at ``first_step`` or later.
        """
        exact = _checked(self.sources, weights)
        if exact == self.entries[-1].weights:
            return self
        entry = MixtureEntry(first_step, exact, self.drawn(first_step))
        return replace(self, entries=(*self.entries, entry))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; integers may exceed 2**53."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Mixture":
        """The mixture that :meth:`to_json` wrote."""
        entries = tuple(MixtureEntry(e["first_step"], tuple(e["weights"]), tuple(e["base"])) for e in value["entries"])
        return cls(tuple(value["sources"]), value["per"], value["rows"], entries)


def split(units: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split the first ``units`` units by integer weights, without rounding error.

    The first half of the sources gets its share rounded down and the second half what remains; each splits its units
    alike. Both grow by at most one when ``units`` does, hence every count is monotone. Each halving errs by less than
    one unit, so a count differs from its exact share by less than ``ceil(log2(len(weights)))``, or by 0 if alone.
    """
    return tuple(counts[0] for counts in split_each([units], weights))


def split_each(units: Sequence[int], weights: Sequence[int]) -> list[list[int]]:
    """:func:`split` of several numbers of units ``[N]``: the counts of each source ``[sources][N]``."""
    counts: list[list[int]] = []
    sums = (0, *accumulate(weights))
    parts = [(list(units), 0, len(weights))]
    while parts:
        whole, start, stop = parts.pop()
        if stop - start == 1:
            counts.append(whole)
            continue
        middle = (start + stop) // 2
        part, total = sums[middle] - sums[start], sums[stop] - sums[start]
        first = [k * part // total for k in whole] if total else whole  # without weight there are no units either
        parts += [([a - b for a, b in zip(whole, first, strict=True)], middle, stop), (first, start, middle)]
    return counts


@lru_cache(maxsize=16)
def _split_once(units: int, weights: tuple[int, ...]) -> tuple[int, ...]:
    """:func:`split` of where an entry begins, which all its steps ask for."""
    return split(units, weights)


def _checked(sources: Sequence[str], weights: Sequence[int]) -> tuple[int, ...]:
    """The weights as Python integers, which do not overflow, whatever integers a sampler made them of."""
    if len(weights) != len(sources):
        raise ConfigError(
            f"the sampler gave {len(weights)} weights for {len(sources)} sources.", remedy="Give one weight per source."
        )
    for source, weight in zip(sources, weights, strict=True):
        if not hasattr(weight, "__index__") or not 0 <= weight <= MAX_WEIGHT:
            raise ConfigError(
                f"the sampler gave source '{source}' the weight {weight!r}.",
                remedy="Weights are integers from 0 to 2**62.",
            )
    if not any(weights):
        raise ConfigError("the sampler gave every source the weight 0.", remedy="Give at least one a positive weight.")
    return tuple(map(index, weights))
