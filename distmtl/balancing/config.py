"""Conflict-free inverse gradients, ConFIG (Liu, Chu & Thuerey 2025, equation 2; arXiv:2408.11104)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.cosines import inverse, norms_and_cosines, pseudo_solve
from distmtl.balancing.submatrix import Matrix, StatelessBalancer

SMALLEST_LENGTH = 1e-12
"""A shorter sum of unit gradients, against the sum of its coefficients' absolute values, has no direction."""


class ConFig(StatelessBalancer):
    """Points along u, which has the same cosine with every task's gradient, and is as long as they reach along it.

    With C the cosines and n the norms, ``u = sum (a_i / n_i) g_i / sqrt(a^T C a)``, ``a = C^+ 1``, and the update is
    ``(sum_i g_i.u) u``: the scale of a sum, as in TorchJD and the paper. They take the pseudo-inverse of the unit
    gradients; the Gramian is enough. Weights may be negative. A zero gradient has weight 0; where no direction has one
    cosine with all, as for opposed gradients, all weights are 0.
    """

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``."""
        norms, cosines = norms_and_cosines(gramian)
        a = pseudo_solve(cosines, (norms > 0.0).astype(np.float64))
        length = np.sqrt(max(float(a @ cosines @ a), 0.0))
        if length <= SMALLEST_LENGTH * float(np.abs(a).sum()):
            return np.zeros(len(norms))
        along = float(norms @ cosines @ a) / length
        weights: Vector = along / length * a * inverse(norms)
        return weights
