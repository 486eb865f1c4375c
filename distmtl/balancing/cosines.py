"""Gradient norms apart from directions: solvers work on cosines, so that lengths that differ by 10^6 cost no digits."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.submatrix import Matrix

RANK_TOLERANCE = 1e-12
"""Eigenvalues of a matrix of cosines that are smaller, against the largest, count as zero."""


def norms_and_cosines(gramian: Matrix) -> tuple[Vector, Matrix]:
    """Norms ``[n]`` and cosines ``[n, n]`` of the gradients; the cosines of a zero gradient are 0, its own too."""
    norms: Vector = np.sqrt(np.maximum(np.diag(gramian), 0.0))
    scale = inverse(norms)
    cosines = np.clip(gramian * scale * scale[:, None], -1.0, 1.0)
    cosines = 0.5 * (cosines + cosines.T)
    np.fill_diagonal(cosines, norms > 0.0)
    return norms, cosines


def inverse(values: Vector) -> Vector:
    """``1 / values`` ``[n]``, and 0 where a value is 0."""
    return np.divide(1.0, values, out=np.zeros(len(values)), where=values != 0.0)


def root(cosines: Matrix) -> Matrix:
    """``R [n, r]`` with ``R R^T`` the cosines, r their numerical rank, and orthogonal columns."""
    values, vectors = np.linalg.eigh(cosines)
    kept = values > RANK_TOLERANCE * max(float(values[-1]), np.finfo(np.float64).tiny)
    columns: Matrix = vectors[:, kept] * np.sqrt(values[kept])
    return columns


def pseudo_solve(cosines: Matrix, right: Vector) -> Vector:
    """``C^+ right`` ``[n]``, by the pseudo-inverse of the cosines C."""
    columns = root(cosines)
    solution: Vector = columns @ ((columns.T @ right) / np.square(columns).sum(axis=0) ** 2)
    return solution
