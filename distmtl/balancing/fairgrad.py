"""Fair resource allocation, FairGrad (Ban & Ji 2024, equation 4; arXiv:2402.15638)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.newton import power_gains, power_weights
from distmtl.balancing.submatrix import Matrix, StatelessBalancer


class FairGrad(StatelessBalancer):
    """Gains that are alpha-fair: ``(G w)_i = w_i^(-1 / alpha)``, ``g_i.d`` being what task i gains.

    alpha = 1 is Nash-MTL up to scale; a larger one lifts the task that gains least. The weights are w itself, as in
    TorchJD and the paper: they are not scaled, and grow as gradients shrink. Newton's method solves exactly, where the
    authors' least squares stop short if the gradients' lengths differ by decades. Exactly opposed gradients have no
    solution: a ridge of 1e-8 bounds the weights, and the residual tells. A zero gradient has weight 0.

    Args:
        alpha: Fairness, from 0.5 to 5. The authors' experiments use 2.
    """

    def __init__(self, alpha: float = 2.0) -> None:
        self._alpha = alpha

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``, all positive but those of zero gradients."""
        return power_weights(gramian, 1.0 / self._alpha)

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """The largest ``|w_i^(1 / alpha) (G w)_i - 1|``."""
        return float(np.abs(power_gains(gramian, weights, 1.0 / self._alpha) - 1.0).max(initial=0.0))
