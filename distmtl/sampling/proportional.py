"""Proportional sampling: every row of every source is as likely as any other."""

from collections.abc import Sequence

from distmtl.sampling.base import SourceSize, State, Statistics
from distmtl.sampling.quantise import quantise


class Proportional:
    """Each source by its number of rows, for the whole run."""

    update_every: int | None = None

    def init(self, sources: Sequence[SourceSize]) -> State:
        """The sources' sizes."""
        return {"rows": [source.rows for source in sources]}

    def update(self, statistics: Statistics, state: State, step: int) -> tuple[tuple[int, ...], State]:  # noqa: ARG002
        """The weights of every step."""
        return quantise(state["rows"]), state
