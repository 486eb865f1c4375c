"""Temperature sampling (Raffel et al. 2020, section 3.5.2; arXiv:1910.10683)."""

from collections.abc import Sequence

from distmtl.sampling.base import SourceSize, State, Statistics
from distmtl.sampling.quantise import quantise


class Temperature:
    """Each source by ``min(rows, cap) ** (1 / tau)``, for the whole run.

    Args:
        tau: 1 samples by size; the larger, the more alike the sources are sampled.
        cap: Rows beyond which a source counts as no larger, or None. It is applied before the temperature.
    """

    update_every: int | None = None

    def __init__(self, tau: float = 2.0, cap: int | None = None) -> None:
        self._tau = tau
        self._cap = cap

    def init(self, sources: Sequence[SourceSize]) -> State:
        """The sources' sizes."""
        return {"rows": [source.rows for source in sources]}

    def update(self, statistics: Statistics, state: State, step: int) -> tuple[tuple[int, ...], State]:  # noqa: ARG002
        """The weights of every step."""
        rows: list[int] = state["rows"]
        largest = max(rows) if self._cap is None else self._cap
        # the largest source has score 1, so no size and no temperature can overflow
        scores = [(min(count, largest) / largest) ** (1.0 / self._tau) for count in rows]
        return quantise(scores), state
