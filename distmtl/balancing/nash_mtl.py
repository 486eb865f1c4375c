"""Multi-task learning as a bargaining game, Nash-MTL (Navon et al. 2022, claim 3.1; arXiv:2202.01017)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.newton import power_gains, power_weights
from distmtl.balancing.submatrix import Matrix, StatelessBalancer


class NashMtl(StatelessBalancer):
    """The update on which the tasks would agree: it maximises the product of ``g_i.d``, so that ``(G w)_i = 1 / w_i``.

    That w is unique, and its update has length ``sqrt(n)`` whatever the lengths of the gradients. As in the authors'
    code and TorchJD, an update longer than ``max_norm`` is shortened to it: by default, all updates have length 1, so a
    schedule of the learning rate alone makes them smaller in the end. They solve by up to 20 convex programs from the
    last step's weights; here Newton's method solves from scratch, exactly and without state.

    Exactly opposed gradients have no solution: a ridge of 1e-8 bounds the weights, and the residual tells. A zero
    gradient has weight 0.

    Args:
        max_norm: Longest update ``|d|``; 0 for no bound.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        self._max_norm = max_norm

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``, all positive but those of zero gradients."""
        weights: Vector = power_weights(gramian, power=1.0)
        length = np.sqrt(max(float(weights @ gramian @ weights), 0.0))
        if 0.0 < self._max_norm < length:
            weights *= self._max_norm / length
        return weights

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """How unequal ``w_i (G w)_i`` is: half the range over its middle, 1 where a task gains nothing."""
        gains = power_gains(gramian, weights, power=1.0)
        if len(gains) == 0:
            return 0.0
        low, high = float(gains.min()), float(gains.max())
        return (high - low) / (high + low) if low > 0.0 else 1.0
