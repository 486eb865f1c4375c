"""How far packing is."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Literal

Stage = Literal["scan", "convert", "write"]

_INTERVAL = 0.1


@dataclass(frozen=True)
class Progress:
    """How far a stage of packing is.

    Attributes:
        stage: ``scan`` (finding types), ``convert`` (sorting rows into their places) or ``write`` (the shards).
        rows: Rows that it has done.
        total: Rows that it has to do, or None where nobody knows yet.
        seconds: Since it began.
    """

    stage: Stage
    rows: int
    total: int | None
    seconds: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds that it will take to end at this rate, or None where nobody knows."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, self.total - self.rows) / self.rate


OnProgress = Callable[[Progress], None]
"""Told of the progress a few times per second, from any thread but from one at a time."""


class Meter:
    """Counts the rows of one stage; threads share it."""

    def __init__(self, stage: Stage, total: int | None, tell: OnProgress) -> None:
        self._stage: Stage = stage
        self._total = total
        self._tell = tell
        self._rows = 0
        self._begun = monotonic()
        self._told = self._begun
        self._lock = Lock()

    def add(self, rows: int) -> None:
        """More rows are done."""
        with self._lock:
            self._rows += rows
            now = monotonic()
            if now - self._told >= _INTERVAL:
                self._told = now
                self._tell(Progress(self._stage, self._rows, self._total, now - self._begun))

    def finish(self) -> None:
        """All rows are done."""
        with self._lock:
            seconds = monotonic() - self._begun
            self._tell(Progress(self._stage, self._rows, self._rows, seconds))
