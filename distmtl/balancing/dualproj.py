"""Projection of the mean gradient (Lopez-Paz & Ranzato 2017, equation 11; arXiv:1706.08840), TorchJD's DualProj."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.dual_cone import RidgeOf, largest_conflict, project_on_dual_cone, regularised
from distmtl.balancing.submatrix import Matrix, StatelessBalancer


class DualProj(StatelessBalancer):
    """Projects the mean of the gradients on their dual cone: the nearest update that makes no task worse.

    The scale is that of a mean, as in TorchJD. The projection is that of the regularised Gramian; what that means for
    short gradients is said of :class:`~distmtl.balancing.upgrad.UpGrad`.

    Args:
        ridge: What is added to the Gramian's diagonal; 1e-4 in TorchJD.
        ridge_of: What it is a part of: the ``trace`` of the Gramian, as in TorchJD, or ``each`` gradient's own square.
    """

    def __init__(self, ridge: float = 1e-4, ridge_of: RidgeOf = "trace") -> None:
        self._ridge = ridge
        self._ridge_of: RidgeOf = ridge_of

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``, each at least 1 / n."""
        mean = np.full((1, len(gramian)), 1.0 / len(gramian))
        weights: Vector = project_on_dual_cone(regularised(gramian, self._ridge, self._ridge_of), mean)[0]
        return weights

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """The largest ``-cos(g_i, d)``: by how much the update still conflicts with a task."""
        return largest_conflict(gramian, weights)
