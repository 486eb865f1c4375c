"""How long steps take, and how many the next exchange between workers should cover."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distmtl.data.batch import StepBatch

EXCHANGE_EVERY_S = 0.5
"""A request to stop is answered within about this time; an exchange costs a few hundred microseconds."""


class Pace:
    """Measures this worker's steps.

    Attributes:
        agreed: Steps that the next exchange covers; the same on every worker.
    """

    def __init__(self, limit: int, prefetch_bytes: int) -> None:
        self.agreed = 1
        self._limit = limit
        self._prefetch_bytes = prefetch_bytes
        self._step_s = 0.0
        self._since: dict[str, float] = {"step": 0.0, "data": 0.0, "other": 0.0}
        self._steps_since = 0

    @contextmanager
    def spending(self, what: str) -> Iterator[None]:
        """Measure a part of the loop: "step", "data" or "other"."""
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self._since[what] += spent
        if what == "step":
            self._steps_since += 1
            self._step_s = spent if self._step_s == 0.0 else 0.9 * self._step_s + 0.1 * spent

    def wish(self, batches: Sequence[StepBatch]) -> int:
        """How many steps this worker would have the next exchange cover."""
        by_time = int(EXCHANGE_EVERY_S / self._step_s) if self._step_s > 0 else 1
        by_memory = self._prefetch_bytes // max([1, *(_batch_bytes(batch) for batch in batches)])
        return max(1, min(self._limit, by_time, by_memory))

    def line(self) -> dict[str, float]:
        """Mean seconds per step spent in each part since the last call, under the keys of the metrics file."""
        steps = max(1, self._steps_since)
        values = {f"{name}_s": seconds / steps for name, seconds in self._since.items()}
        self._since = dict.fromkeys(self._since, 0.0)
        self._steps_since = 0
        return values


def _batch_bytes(batch: StepBatch) -> int:
    return sum(
        value.numel() * value.element_size()
        for part in batch.sources
        for value in (*part.inputs.values(), *part.targets.values())
    )
