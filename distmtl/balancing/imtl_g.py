"""Impartial multi-task learning, the gradients' part, IMTL-G (Liu et al. 2021, section 3.1; ICLR 2021)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.cosines import inverse, norms_and_cosines, pseudo_solve
from distmtl.balancing.submatrix import Matrix, StatelessBalancer

SMALLEST_SUM = 1e-12
"""A sum of weights that is smaller, against the sum of their absolute values, counts as zero."""


class ImtlG(StatelessBalancer):
    """The update has the same projection on every task's gradient: ``g_i.d / |g_i|`` is the same for all i.

    ``w_i = a_i / n_i`` with ``a = C^+ 1``, C the cosines and n the norms, scaled to sum 1: as in TorchJD and the paper,
    a mean rather than a sum. That is ``w = G^+ n / sum(G^+ n)`` where the gradients are linearly independent. Where
    they are not, TorchJD takes the pseudo-inverse of G, so that the same directions weigh differently by length.

    Weights may be negative. A zero gradient has weight 0. Where the weights sum to 0, as for opposed gradients of equal
    length, all are 0.
    """

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]`` that sum to 1, or zeros."""
        norms, cosines = norms_and_cosines(gramian)
        if not norms.any():
            return np.zeros(len(norms))
        scale = norms.max() * inverse(norms)
        weights = pseudo_solve(cosines, (norms > 0.0).astype(np.float64)) * scale
        total = float(weights.sum())
        if abs(total) <= SMALLEST_SUM * float(np.abs(weights).sum()):
            return np.zeros(len(norms))
        return np.asarray(weights / total)
