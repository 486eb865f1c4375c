"""Task gradients and their Gramians, easy and hard, for tests of the balancers that combine gradients."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from distmtl.balancing.base import StepView
from distmtl.balancing.submatrix import Matrix


def gradients(seed: int, tasks: int, *, decades: float = 6.0, size: int | None = None, common: float = 0.0) -> Matrix:
    """Random gradients ``[tasks, size]`` whose lengths are spread over so many decades.

    Args:
        seed: Of all that is random.
        tasks: How many.
        decades: Spread of the lengths, around 1.
        size: Parameters; twice the tasks and two if left out, so that no combination is near 0.
        common: Strength of a part that all share, against their own: they agree the more, the larger it is.
    """
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((tasks, size or 2 * tasks + 2))
    directions += common * generator.standard_normal(directions.shape[1])
    lengths = 10.0 ** generator.uniform(-decades / 2, decades / 2, tasks)
    scaled: Matrix = directions * (lengths / np.linalg.norm(directions, axis=1))[:, None]
    return scaled


@st.composite
def independent(draw: st.DrawFn, *, largest: int = 12) -> Matrix:
    """Gradients no combination of which is near 0, of lengths over up to six decades."""
    tasks = draw(st.integers(1, largest))
    decades, common = draw(st.sampled_from([0.0, 2.0, 6.0])), draw(st.sampled_from([0.0, 1.0]))
    return gradients(draw(st.integers(0, 10**6)), tasks, decades=decades, common=common)


@st.composite
def hard(draw: st.DrawFn, *, largest: int = 12) -> Matrix:
    """Gradients of few parameters, among them zeros, copies and opposites."""
    tasks = draw(st.integers(1, largest))
    found = gradients(draw(st.integers(0, 10**6)), tasks, decades=6.0, size=draw(st.integers(1, tasks + 1)))
    for row, (kind, other) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, tasks - 1)), min_size=tasks, max_size=tasks))
    ):
        if kind <= 2:
            found[row] = (0.0, 1.0, -1.0)[kind] * found[other]
    return found


def view(rows: Matrix, present: Any = None, *, step: int = 0, seed: int = 0, losses: Any = None) -> StepView:
    """A step with these gradients; rows of absent tasks count as 0."""
    here = np.ones(len(rows), dtype=bool) if present is None else np.asarray(present, dtype=bool)
    rows = np.where(here[:, None], rows, 0.0)
    known = np.linspace(0.5, 2.0, len(rows)) if losses is None else np.asarray(losses, dtype=np.float64)
    return StepView(step, here, np.where(here, known, np.nan), rows @ rows.T, seed)


def lengths(rows: Matrix) -> Any:
    """Norms of the gradients, as the Gramian has them."""
    return np.sqrt(np.diag(rows @ rows.T))
