"""One damped Newton method for Nash-MTL and FairGrad: weights at which each task gains by a power of its weight."""

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.cosines import norms_and_cosines
from distmtl.balancing.submatrix import Matrix

RIDGE = 1e-8
"""Added to the cosines' diagonal. It bounds the weights (``n_i w_i`` by 1e4 where the power is 1) when gradients are
exactly opposed, for which there is no finite solution."""

ITERATIONS = 60
TOLERANCE, SMALL = 1e-13, 1e-6
"""A relative step of b that is smaller than the first is the last; so is one below the second that rounding keeps from
shrinking."""


def power_weights(gramian: Matrix, power: float) -> Vector:
    """The w > 0 with ``(G w)_i = w_i^-power`` ``[n]``; 0 for zero gradients, which no weight can fulfil.

    It is the one stationary point of the strictly convex ``w^T G w / 2 - sum phi(w_i)``, ``phi'(w) = w^-power``. With
    ``w_i = n_i^(-2 / (1 + power)) b_i``, n the norms, orthogonal gradients have b = 1 whatever their lengths, and the
    condition on b is ``sum_j C_ij k_j b_j = k_i b_i^-power``, ``k_i = n_i^((power - 1) / (power + 1))``, C the cosines
    plus :data:`RIDGE`.

    Args:
        gramian: ``[n, n]``.
        power: From 0.2 to 2. Beyond, a spread of lengths over decades asks for more digits than there are.
    """
    norms, cosines = norms_and_cosines(gramian)
    some = norms > 0.0
    if not some.all():
        weights = np.zeros(len(norms))
        if some.any():
            weights[some] = power_weights(gramian[np.ix_(some, some)], power)
        return weights
    middle = np.exp(np.log(norms).mean())  # b is the same for gradients times any factor
    k = (norms / middle) ** ((power - 1.0) / (power + 1.0))
    b = _balanced((cosines + RIDGE * np.eye(len(norms))) * k * k[:, None], np.square(k), power)
    return np.asarray(norms ** (-2.0 / (1.0 + power)) * b)


def power_gains(gramian: Matrix, weights: Vector, power: float) -> Vector:
    """``(G w)_i w_i^power`` of the tasks with a gradient; 1 for each if w is :func:`power_weights`."""
    some = np.diag(gramian) > 0.0
    gains: Vector = (gramian @ weights)[some] * weights[some] ** power
    return gains


def _balanced(matrix: Matrix, pull: Vector, power: float) -> Vector:
    """The b > 0 with ``(M b)_i = pull_i b_i^-power`` ``[n]``, from b = 1."""
    b: Vector = np.ones(len(pull))
    sizes = np.abs(matrix)
    value, last = _objective(matrix, pull, power, b), np.inf
    for _ in range(ITERATIONS):
        force = pull * b**-power
        curvature = matrix * b * b[:, None]
        curvature[np.diag_indices_from(curvature)] += power * force * b
        down = (matrix @ b - force) * b
        unit = 1.0 / np.sqrt(np.diag(curvature))
        t = np.asarray(-unit * np.linalg.solve(curvature * unit * unit[:, None], unit * down), dtype=np.float64)
        fall, largest = -float(down @ t), float(np.abs(t).max())
        if fall <= 1e-13 * float(b @ sizes @ b + pull.sum()):  # less than the objective's rounding: Newton's own region
            if largest <= TOLERANCE or (largest <= SMALL and largest >= 0.5 * last):
                break
            last, b = largest, _bent(b, t)
            value = _objective(matrix, pull, power, b)
        else:
            b, value = _search(matrix, pull, power, b, t, value - 1e-4 * fall)
    return b


def _search(matrix: Matrix, pull: Vector, power: float, b: Vector, t: Vector, below: float) -> tuple[Vector, float]:
    """The next b and its objective, along a Newton step t relative to b, halved until the objective falls.

    The straight step is cut where an entry would leave the positive numbers; it is right where gradients nearly cancel.
    The bent one keeps each entry positive by itself; it is right where entries are off by factors.
    """
    straight, step = min(1.0, 0.95 / max(float(-t.min()), 0.95)), 1.0
    while True:
        tried = [b * (1.0 + step * straight * t), _bent(b, step * t)]
        values = [_objective(matrix, pull, power, candidate) for candidate in tried]
        best = int(np.argmin(values))
        if values[best] <= below or step < 1e-4:
            return tried[best], values[best]
        step *= 0.5


def _bent(b: Vector, t: Vector) -> Vector:
    """Each entry of b multiplied by ``1 + t`` or divided by ``1 - t`` ``[n]``."""
    bent: Vector = b * (1.0 + np.maximum(t, 0.0)) / (1.0 - np.minimum(t, 0.0))
    return bent


def _objective(matrix: Matrix, pull: Vector, power: float, b: Vector) -> float:
    logs = np.log(b)
    gains = logs if power == 1.0 else np.expm1((1.0 - power) * logs) / (1.0 - power)
    return float(0.5 * b @ matrix @ b - pull @ gains)
