"""Where to cut a numeric column into bins."""

import numpy as np
import numpy.typing as npt

from distmtl.features import NumericColumn

_Edges = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]


def bin_edges(column: NumericColumn, bins: int) -> _Edges:
    """Ascending edges of at least one and at most ``bins`` bins, each a float32 number ``[2 ... bins + 1]``.

    Edges are values that the train split has: all of them if they are few enough, else such that each bin has about as
    many rows. A value that has more rows than a bin's share gets its own bin first, and the others share what is left.
    So of a column that is 0 in 92 % of the rows, nearly all bins cut up the other 8 %, whose values may differ by
    orders of magnitude.
    """
    points, rows = _distribution(column)
    if len(points) == 0:
        return np.array([0.0, 1.0])
    if len(points) == 1:
        return np.array([points[0], points[0] + 1.0])
    if len(points) <= bins + 1:
        return points
    return points[_equal_shares(rows, bins)]


def _distribution(column: NumericColumn) -> tuple[_Edges, _Counts]:
    """The distinct finite float32 values that are known, ascending, and how many rows or quantiles stand for each."""
    known = (column.values, column.counts) if column.values else (column.quantiles, (1,) * len(column.quantiles))
    points = np.array([column.minimum, *known[0], column.maximum])
    rows = np.array([0, *known[1], 0], np.int64)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is no edge
        points = points.astype(np.float32).astype(np.float64)
    finite = np.isfinite(points)
    distinct, place = np.unique(points[finite], return_inverse=True)
    summed = np.zeros(len(distinct), np.int64)
    np.add.at(summed, place, rows[finite])
    return distinct, summed


def _equal_shares(rows: _Counts, bins: int) -> npt.NDArray[np.int64]:
    """Which of the points are edges: the first, the last, and one wherever another bin's share of the rows is reached.

    In integers, so that the edges are the same on every machine.
    """
    heavy, rest = 0, int(rows.sum())
    for count in sorted(rows.tolist(), reverse=True)[: bins - 1]:
        if count * (bins - heavy) < rest:
            break
        heavy, rest = heavy + 1, rest - count
    # in units of 1 / (bins - heavy) rows a light bin has ``rest``, and a heavy value counts as no more than that
    reached = np.cumsum(np.minimum(rows * (bins - heavy), rest))
    picked = np.searchsorted(reached, rest * np.arange(1, bins, dtype=np.int64))
    return np.unique([0, *picked.tolist(), len(rows) - 1])
