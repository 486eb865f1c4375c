"""Unconflicting projection of gradients, UPGrad (Quinton & Rey 2024, section 3; arXiv:2406.16232)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.dual_cone import RidgeOf, largest_conflict, project_on_dual_cone, regularised
from distmtl.balancing.submatrix import Matrix, StatelessBalancer


class UpGrad(StatelessBalancer):
    """Projects each task's gradient on the dual cone of all, and takes the mean: no task gets worse.

    Each projection is the nearest vector that has no negative product with any task's gradient. The mean, as in TorchJD
    and the paper.

    The projections are those of the regularised Gramian. What then holds is ``g_i.d >= -ridge trace(G) w_i``: with
    TorchJD's ridge, a task whose gradient is 100 times shorter than the longest is hardly protected. With
    ``ridge_of: each`` it is ``g_i.d >= -ridge |g_i|^2 w_i``, for short gradients as for long ones.

    Args:
        ridge: What is added to the Gramian's diagonal; 1e-4 in TorchJD.
        ridge_of: What it is a part of: the ``trace`` of the Gramian, as in TorchJD, or ``each`` gradient's own square.
    """

    def __init__(self, ridge: float = 1e-4, ridge_of: RidgeOf = "trace") -> None:
        self._ridge = ridge
        self._ridge_of: RidgeOf = ridge_of

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``, each at least 1 / n."""
        rows = np.eye(len(gramian)) / len(gramian)
        regular = regularised(gramian, self._ridge, self._ridge_of)
        weights: Vector = project_on_dual_cone(regular, rows).sum(axis=0)
        return weights

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """The largest ``-cos(g_i, d)``: by how much the update still conflicts with a task."""
        return largest_conflict(gramian, weights)
