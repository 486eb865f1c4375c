"""Conflict-averse gradient descent, CAGrad (Liu et al. 2021, algorithm 1; arXiv:2110.14048)."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.cosines import inverse, norms_and_cosines
from distmtl.balancing.nonnegative import nonnegative_minimum
from distmtl.balancing.submatrix import Matrix, StatelessBalancer

RIDGE = 1e-12
"""Added to the cosines' diagonal, to decide between solutions."""

STATIONARY = 1e-7
"""A combination of gradients that is shorter, against the lengths that went into it, is zero to rounding."""

ROUNDING = 1e-9
"""Of weights near ``1 / n``, less than this part is not told from 0."""

ROUNDS = 100


class CaGrad(StatelessBalancer):
    """The update that helps the worst task most, within a ball around the mean gradient g_0.

    ``d`` maximises ``min_i g_i.d`` over ``|d - g_0| <= c |g_0|``. The paper finds it from the w in the simplex that
    minimises ``g_w.g_0 + c |g_0| |g_w|``, ``g_w = sum w_i g_i``, as ``g_0 + c |g_0| g_w / |g_w|``; here, see
    :func:`towards_worst`. The scale is that of a mean, as in TorchJD and the paper; with ``rescale``, the update is
    divided by ``1 + c^2``, as in the authors' code and LibMTL.

    Where some combination of the gradients is 0, no update helps every task and g_w has no direction: TorchJD then
    returns 0, and so it does where g_w is 10^4 times shorter than the gradients. Here d is then the vector nearest to
    g_0, within the ball, that hurts the worst task least.

    Args:
        c: Radius of the ball over ``|g_0|``; 0 is the mean, 0.4 and 0.5 are usual.
        rescale: Whether to divide by ``1 + c^2``.
    """

    def __init__(self, c: float = 0.4, *, rescale: bool = False) -> None:
        self._c = c
        self._factor = 1.0 / (1.0 + c**2) if rescale else 1.0

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``, each at least ``1 / n`` (over ``1 + c^2`` if rescaled)."""
        weights: Vector = self._factor * (1.0 / len(gramian) + towards_worst(gramian, self._c))
        return weights

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """The largest relative violation of what :func:`towards_worst` says of y and d."""
        mean = np.full(len(gramian), 1.0 / len(gramian))
        y = weights / self._factor - mean
        radius, length = self._c * _length(gramian, mean), _length(gramian, y)
        size = _length(gramian, mean) + radius
        norms = np.sqrt(np.diag(gramian))
        if _length(gramian, mean) <= STATIONARY * float(mean @ norms):
            return 0.0  # the ball is a point
        gains = gramian @ (weights / self._factor)
        worst = float(gains.min())
        idle = float(np.abs(y) @ (gains - worst)) / (float((np.abs(y) + ROUNDING * mean) @ norms) * size)
        inside = max(0.0, radius - length) / size
        # inside of the ball is right only where the worst task gains nothing
        useful = abs(float((gains * inverse(norms)).min())) / size
        return max(idle, min(inside, useful), max(0.0, length - radius) / size)


def towards_worst(gramian: Matrix, c: float) -> Vector:
    """The y >= 0 ``[n]`` for which ``d = g_0 + sum y_i g_i`` maximises ``min_i g_i.d`` over ``|d - g_0| <= c |g_0|``.

    For a bound v, let ``g_y`` be the shortest vector with ``g_i.(g_0 + g_y) >= v`` for all i, from a quadratic program
    in y >= 0. Its length grows with v: it is the root of a quadratic function of v while the same y_i are above 0.
    The largest v whose g_y fits into the ball is found by going from root to root. Only tasks that gain v, the least of
    all, have y_i > 0. No v above 0 is tried where a combination of the gradients is 0.
    """
    tasks = len(gramian)
    norms, cosines = norms_and_cosines(gramian)
    mean = norms / tasks
    center = np.sqrt(max(float(mean @ cosines @ mean), 0.0))
    radius = c * center
    if radius <= STATIONARY * c * float(mean.sum()):
        return np.zeros(tasks)
    unit = float(norms.max())
    quadratic = cosines + RIDGE * np.eye(tasks)
    search = _Search(quadratic, unit * inverse(norms), cosines @ mean / radius)
    scale: Vector = radius * inverse(norms)
    if _stationary(norms, cosines):
        still = search.shortest(0.0)
        if search.length(still) <= 1.0:
            return np.asarray(scale * still)
        highest = 0.0
    else:
        highest = float(norms.min()) / unit * (1.0 + 1.0 / c)
    lowest = float((norms * (cosines @ mean)).min()) / (unit * radius)
    return np.asarray(scale * search.reaching(lowest, highest))


def _length(gramian: Matrix, coefficients: Vector) -> float:
    return float(np.sqrt(max(float(coefficients @ gramian @ coefficients), 0.0)))


def _stationary(norms: Vector, cosines: Matrix) -> bool:
    """Whether some combination of the gradients, with weights that are not negative, is zero to rounding."""
    shortest = float(norms.min())
    if shortest == 0.0:
        return True
    lengths = nonnegative_minimum(cosines + RIDGE * np.eye(len(norms)), shortest / norms)
    return float(np.sqrt(max(float(lengths @ cosines @ lengths), 0.0))) <= STATIONARY * float(lengths.sum())


class _Search:
    """The shortest vectors ``x >= 0`` with ``Q x >= v up - off``, x being ``y_i n_i`` over the radius of the ball.

    Args:
        quadratic: ``Q [n, n]``, the cosines.
        up: ``[n]``, what a bound of 1 asks of each task.
        off: ``[n]``, what each task has from the mean gradient.
    """

    def __init__(self, quadratic: Matrix, up: Vector, off: Vector) -> None:
        self._quadratic = quadratic
        self._up = up
        self._off = off

    def shortest(self, bound: float) -> Vector:
        """The x of a bound ``[n]``."""
        return nonnegative_minimum(self._quadratic, bound * self._up - self._off)

    def length(self, x: Vector) -> float:
        """The length of the vector that x stands for."""
        return float(np.sqrt(max(float(x @ self._quadratic @ x), 0.0)))

    def reaching(self, low: float, high: float) -> Vector:
        """The x of length 1, its bound lying between these two ``[n]``."""
        bound, x = high, np.zeros(len(self._up))
        for _ in range(ROUNDS):
            x = self.shortest(bound)
            length = self.length(x)
            if abs(length - 1.0) <= 1e-13:
                break
            low, high = (low, bound) if length > 1.0 else (bound, high)
            following = self._root(x > 0.0)
            if not low < following < high:
                following = 0.5 * (low + high)
                if not low < following < high:
                    break
            bound = following
        return x / max(self.length(x), 1.0)

    def _root(self, free: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
        """The bound of length 1 if just these entries are above 0; NaN if there is none."""
        up, off = self._up[free], self._off[free]
        sides = np.linalg.solve(self._quadratic[np.ix_(free, free)], np.stack([up, off], axis=1))
        (a, b), (_, c) = up @ sides, off @ sides
        inside = b * b - a * (c - 1.0)
        return float((b + np.sqrt(inside)) / a) if a > 0.0 and inside >= 0.0 else float("nan")
