"""Projection on the dual cone of the task gradients, for UPGrad and DualProj: the nearest update that hurts no task.

Proposition 1 of Quinton & Rey 2024 (arXiv:2406.16232): the projection of ``sum u_i g_i`` is ``sum v_i g_i`` with the
v >= u that minimises ``v^T G v``.
"""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.nonnegative import nonnegative_minima
from distmtl.balancing.submatrix import Matrix

RidgeOf = Literal["trace", "each"]


CANCELLED = 1e-7
"""An update that is shorter, against the lengths of the gradients that went into it, is zero to rounding."""


def regularised(gramian: Matrix, ridge: float, ridge_of: RidgeOf) -> Matrix:
    """``G / trace(G)`` with something added to its diagonal, so that it is positive definite ``[n, n]``.

    Args:
        gramian: ``[n, n]``; zeros count as having the trace 1.
        ridge: Above 0.
        ridge_of: ``trace``: adds ridge to each entry, as TorchJD does. ``each``: adds ridge times the entry, so that a
            task's gradient is changed in proportion to its own length; ridge itself, where that is 0.
    """
    trace = float(np.trace(gramian))
    scaled = gramian / trace if trace > 0.0 else np.zeros_like(gramian)
    squares = np.diag(scaled)
    regular: Matrix = scaled + ridge * np.diag(np.where((squares > 0.0) & (ridge_of == "each"), squares, 1.0))
    return regular


def project_on_dual_cone(regular: Matrix, rows: Matrix) -> Matrix:
    """For each row u of ``rows [m, n]``, the v >= u that minimises ``v^T G v`` ``[m, n]``.

    Args:
        regular: ``G [n, n]``, positive definite.
        rows: ``[m, n]``.
    """
    norms = np.sqrt(np.diag(regular))
    unit = regular / norms / norms[:, None]
    return rows + nonnegative_minima(unit, -(rows * norms) @ unit) / norms


def largest_conflict(gramian: Matrix, weights: Vector) -> float:
    """The largest ``-cos(g_i, d)`` of a task's gradient with the update d; 0 if it conflicts with none, or d is 0."""
    along = gramian @ weights
    norms = np.sqrt(np.diag(gramian))
    length = float(np.sqrt(max(float(weights @ along), 0.0)))
    if length <= CANCELLED * float(weights @ norms):
        return 0.0
    some = norms > 0.0
    return max(0.0, float((-along[some] / norms[some]).max()) / length)
