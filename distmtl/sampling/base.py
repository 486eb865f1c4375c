"""The sampler protocol: which source next. NumPy only; no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

State = Mapping[str, Any]
"""JSON values and NumPy arrays; a checkpoint keeps it as it is."""


@dataclass(frozen=True)
class SourceSize:
    """A source as a sampler sees it."""

    name: str
    rows: int


@dataclass(frozen=True)
class Statistics:
    """What the run measured since the last update, reduced over all workers.

    ``loss[source]`` is the mean over the source's tasks of the mean loss of their valid labels; a source without a
    valid label since the last update is absent.
    """

    loss: Mapping[str, float]


class Sampler(Protocol):
    """Decides how the rows of coming steps are split over sources.

    ``update`` is called before the first step (step 0, no statistics) and then every ``update_every`` steps, on all
    workers with the same arguments; its integer weights take effect ``sampling.delay_steps`` later.
    """

    update_every: int | None
    """Steps between updates; None: the first weights hold for the whole run."""

    def init(self, sources: Sequence[SourceSize]) -> State:
        """The state before the first step."""
        ...

    def update(self, statistics: Statistics, state: State, step: int) -> tuple[tuple[int, ...], State]:
        """Integer weights, one per source in the order of ``init``, and the next state."""
        ...
