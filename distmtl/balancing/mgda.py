"""Multiple gradient descent, MGDA (Désidéri 2012; Sener & Koltun 2018, arXiv:1810.04650)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.cosines import inverse, norms_and_cosines
from distmtl.balancing.nonnegative import nonnegative_minimum
from distmtl.balancing.submatrix import Matrix, present_gramian, spread

Normalisation = Literal["none", "l2", "loss", "loss+"]

RIDGE = 1e-12
"""Added to the cosines' diagonal: it decides between minima, and a minimum is off by as much, relatively."""

SMALLEST_LOSS = 1e-12
"""What a loss counts as at least, against the largest, where gradients are divided by it."""


class Mgda:
    """The shortest vector in the convex hull of the task gradients: ``min |sum w_i g_i|`` over ``w >= 0, sum w = 1``.

    Either it is a direction along which no task gets worse, or it is 0 and no such direction is known. So a task
    without a gradient gets all the weight, and the trunk stands still. The minimum is exact (an active-set method,
    not Frank-Wolfe); of several, the one with the least ``sum (w_i n_i)^2``.

    ``normalise`` divides each gradient before the minimum is sought, by its norm n (``l2``), its loss (``loss``) or
    both (``loss+``). As in the authors' code, the weights that come out then multiply the gradients as they are. Losses
    count with their absolute value.

    The weights sum to 1, so the update is a mean rather than a sum: as in TorchJD and the paper.

    Args:
        normalise: ``none``, ``l2``, ``loss`` or ``loss+``.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "gradient"

    def __init__(self, normalise: Normalisation = "none") -> None:
        self._normalise = normalise

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``[T]`` that sum to 1 over the present tasks."""
        if not view.present.any():
            return np.zeros(len(view.present)), state
        gramian = present_gramian(view)
        scale = self._scale(gramian, view.losses[view.present])
        return spread(minimum_norm(gramian * scale * scale[:, None]), view), state

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """How far from the minimum: ``max_i (d.d - g_i.d) / (|g_i| sum_j w_j |g_j|)``, 0 at it.

        NaN where gradients are divided by losses, which are not known here.
        """
        if "loss" in self._normalise:
            return float("nan")
        scale = self._scale(gramian, weights)
        gramian = gramian * scale * scale[:, None]
        norms = np.sqrt(np.diag(gramian))
        along = gramian @ weights
        excess = (weights @ along - along) * inverse(norms * (weights @ norms))
        return max(0.0, float(excess.max()))

    def _scale(self, gramian: Matrix, losses: Vector) -> Vector:
        """What each gradient is multiplied by ``[n]``."""
        scale = np.ones(len(gramian))
        if self._normalise in {"l2", "loss+"}:
            scale *= inverse(np.sqrt(np.diag(gramian)))
        if self._normalise in {"loss", "loss+"}:
            sizes = np.abs(losses)
            scale *= inverse(np.maximum(sizes, SMALLEST_LOSS * sizes.max()))
        return scale


def minimum_norm(gramian: Matrix) -> Vector:
    """Weights ``[n]`` of the shortest vector in the convex hull of gradients with this Gramian ``[n, n]``.

    With y = w up to a factor, it is the least of ``y^T G y / 2 - sum y`` over y >= 0; in ``y_i n_i``, its quadratic
    part is the cosines'.
    """
    norms, cosines = norms_and_cosines(gramian)
    shortest = norms.min()
    if shortest == 0.0:
        return np.asarray((norms == 0.0) / np.count_nonzero(norms == 0.0))
    lengths = nonnegative_minimum(cosines + RIDGE * np.eye(len(norms)), shortest / norms)
    weights: Vector = lengths * (shortest / norms)
    return np.asarray(weights / weights.sum())
