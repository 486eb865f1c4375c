"""Uniform sampling: all sources alike, whatever their size."""

from collections.abc import Sequence

from distmtl.sampling.base import SourceSize, State, Statistics


class Uniform:
    """Weight 1 for every source, for the whole run."""

    update_every: int | None = None

    def init(self, sources: Sequence[SourceSize]) -> State:
        """The number of sources."""
        return {"sources": len(sources)}

    def update(self, statistics: Statistics, state: State, step: int) -> tuple[tuple[int, ...], State]:  # noqa: ARG002
        """The weights of every step."""
        return (1,) * state["sources"], state
