"""Mean and deviation of numbers that come in pieces, the same to the last bit however they are cut."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.statistics import SAFE, UNIT, mean_and_std

FOLD = 16_384
"""Numbers that are summed at once. Sums in floating point depend on what is summed first, so that numbers are
collected until there are as many as this, whatever pieces they come in."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and population standard deviation of finite numbers."""

    count: int = 0
    mean: float = 0.0
    std: float = 0.0

    def __add__(self, other: "Moments") -> "Moments":
        """Both together (Chan, Golub and LeVeque 1979), without overflow."""
        if not (self.count and other.count):
            return self if self.count else other
        unit = UNIT if max(abs(self.mean), abs(other.mean), self.std, other.std) > SAFE else 1.0
        count = self.count + other.count
        share, mine = other.count / count, self.count / count
        delta = other.mean / unit - self.mean / unit
        variance = mine * (self.std / unit) ** 2 + share * (other.std / unit) ** 2 + mine * share * delta**2
        return Moments(count, (self.mean / unit + delta * share) * unit, sqrt(variance) * unit)


class MomentsFold:
    """Takes finite numbers piece by piece."""

    def __init__(self) -> None:
        self._done = Moments()
        self._waiting: list[npt.NDArray[Any]] = []
        self._count = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Take ``[N]`` finite numbers."""
        while self._count + len(values) >= FOLD:
            cut = FOLD - self._count
            self._waiting.append(values[:cut])
            self._flush()
            values = values[cut:]
        if len(values):
            # A copy: the piece may be a view of a much larger batch.
            self._waiting.append(values.copy())
            self._count += len(values)

    def finish(self) -> Moments:
        """What was taken."""
        if self._count:
            self._flush()
        return self._done

    def _flush(self) -> None:
        values = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._done += Moments(len(values), *mean_and_std(values))
        self._waiting, self._count = [], 0
