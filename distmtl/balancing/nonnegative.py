"""Quadratic programs over nonnegative vectors, many at once.

Two pivoting methods in turn. Block principal pivoting (Judice & Pires 1994; Kim & Park 2011, SIAM J. Sci. Comput. 33)
exchanges many entries at a time and mostly ends within a few rounds, but may cycle. The active-set method of Lawson &
Hanson (1974, chapter 23) adds one entry at a time and always ends; it does what is left over.
"""

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import Vector
from distmtl.balancing.submatrix import Matrix

TOLERANCE = 1e-13
"""What counts as not negative, relative to the size of the terms that make up the number."""

BLOCK_ROUNDS = 12

Mask = npt.NDArray[np.bool_]


def nonnegative_minima(quadratic: Matrix, linear: Matrix) -> Matrix:
    """For each row h of ``linear [m, n]``, the x >= 0 that minimises ``x^T Q x / 2 - h^T x`` ``[m, n]``.

    Each x obeys ``x >= 0``, ``Q x - h >= 0`` and ``x^T (Q x - h) = 0``, to rounding.

    Args:
        quadratic: ``Q [n, n]``, symmetric and positive definite; best with ones on the diagonal.
        linear: ``[m, n]``.
    """
    free: Mask = np.zeros(linear.shape, dtype=bool)
    x = np.zeros(linear.shape)
    wrong = _wrong(quadratic, linear, x, free)
    for _ in range(BLOCK_ROUNDS):
        rows = wrong.any(axis=1)
        if not rows.any():
            break
        free ^= wrong
        x[rows] = _minima_on(free[rows], quadratic, linear[rows])
        wrong = _wrong(quadratic, linear, x, free)
    for row in np.flatnonzero(wrong.any(axis=1)):
        x[row] = _one_by_one(quadratic, linear[row], free[row])
    return np.maximum(x, 0.0)


def nonnegative_minimum(quadratic: Matrix, linear: Vector) -> Vector:
    """:func:`nonnegative_minima` for one vector ``[n]``."""
    found: Vector = nonnegative_minima(quadratic, linear[None])[0]
    return found


def _wrong(quadratic: Matrix, linear: Matrix, x: Matrix, free: Mask) -> Mask:
    """Free entries that are negative, and entries held at 0 along which the objective falls ``[m, n]``."""
    negative = x < -TOLERANCE * np.abs(x).max(axis=1, keepdims=True)
    return np.where(free, negative, _falls(quadratic, linear, x))


def _falls(quadratic: Matrix, linear: Matrix, x: Matrix) -> Mask:
    falls: Mask = linear - x @ quadratic > TOLERANCE * (np.abs(x) @ np.abs(quadratic) + np.abs(linear))
    return falls


def _minima_on(free: Mask, quadratic: Matrix, linear: Matrix) -> Matrix:
    """The minima over the free entries, the others held at 0 ``[m, n]``."""
    matrices = np.where(free[:, :, None] & free[:, None, :], quadratic, np.eye(len(quadratic)))
    solved: Matrix = np.linalg.solve(matrices, np.where(free, linear, 0.0)[:, :, None])[:, :, 0]
    return solved


def _one_by_one(quadratic: Matrix, linear: Vector, guess: Mask) -> Vector:
    """The active-set method ``[n]``, from what a guess of the free entries comes to without its negative ones."""
    free, x = guess.copy(), np.zeros(len(linear))
    while free.any():
        x = _minima_on(free[None], quadratic, linear[None])[0]
        if (x[free] > 0.0).all():
            break
        free &= x > 0.0
    x = np.where(free, x, 0.0)
    for _ in range(10 * len(linear)):
        falls = _falls(quadratic, linear[None], x[None])[0] & ~free
        if not falls.any():
            break
        free[np.argmax(np.where(falls, linear - quadratic @ x, -np.inf))] = True
        x, free = _minimum_from(x, free, quadratic, linear)
    return x


def _minimum_from(x: Vector, free: Mask, quadratic: Matrix, linear: Vector) -> tuple[Vector, Mask]:
    """The minimum over the free entries, going straight there from x and fixing each entry that would turn negative."""
    while free.any():
        target = _minima_on(free[None], quadratic, linear[None])[0]
        leaving = free & (target <= 0.0)
        if not leaving.any():
            return target, free
        reach = np.divide(x, x - target, out=np.full(len(x), np.inf), where=leaving & (x > target))
        x = x + min(1.0, float(reach.min())) * (target - x)
        free = free & (reach > reach.min()) & (x > 0.0)
        x = np.where(free, x, 0.0)
    return x, free
