"""What the loader hands to the step: one columnar batch per source."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class SourceBatch(NamedTuple):
    """One worker's rows of one source in one step.

    Attributes:
        source: The source's name.
        inputs: Input groups by name, ``[N, columns]`` or ``[N, *shape]``; see :class:`distmtl.features.InputGroup`.
        targets: Label columns by name ``[N]``: int64 class indices with -1 for null, or floats with NaN for null.
        weights: Row weights ``[N]`` float, or None where all are 1.
        positions: Place of each row in the step's global row list ``[N]`` int64 (in evaluation: in the split);
            the same whatever the world size.
    """

    source: str
    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    weights: Tensor | None
    positions: Tensor

    @property
    def rows(self) -> int:
        """Number of rows N; may be 0."""
        return self.positions.shape[0]


class StepBatch(NamedTuple):
    """One worker's share of one step.

    Attributes:
        step: The step.
        sources: One batch per source that has rows in the *global* step, in the run's source order; this worker's
            part of one may be empty.
        quotas: Rows of each source in the global step, by source name (0 for absent ones).
    """

    step: int
    sources: tuple[SourceBatch, ...]
    quotas: Mapping[str, int]
