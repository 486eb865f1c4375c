"""Gradient vaccine, GradVac (Wang et al. 2021, algorithm 1; arXiv:2010.05874)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.cosines import inverse
from distmtl.balancing.pcgrad import Orders, visiting_orders
from distmtl.balancing.submatrix import Matrix, present_gramian, spread

LARGEST_TARGET = 1.0 - 1e-8
"""What a target cosine counts as at most: one of 1 would take infinitely much of the other gradient."""


class GradVac:
    """Raises the cosine of each pair of task gradients to what it usually is.

    Where the cosine f of ``g_i'`` and ``g_j`` is below its running mean F, ``g_i'`` gets
    ``|g_i'| (F sqrt(1 - f^2) - f sqrt(1 - F^2)) / (|g_j| sqrt(1 - F^2))`` of ``g_j``, so that it becomes F. Then F,
    which starts at 0, moves to ``(1 - beta) F + beta f``. The j come in random order, drawn for each i from (seed,
    step). The update is the sum of the ``g_i'``, as in TorchJD and the paper: tasks that need nothing have weight 1.

    The gradients are those of the whole trunk; the paper's variants by layer are not offered. Pairs with an absent task
    or a zero gradient keep their mean.

    Args:
        beta: How fast the mean follows, from 0 to 1. TorchJD and LibMTL have 0.5.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "gradient"

    def __init__(self, beta: float = 0.5) -> None:
        self._beta = beta

    def init(self, tasks: int) -> State:
        """Running mean cosines ``phi [T, T]``; row i is from task i's view."""
        return {"phi": np.zeros((tasks, tasks))}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``[T]``: how much of each gradient is in the sum; and the next means."""
        if not view.present.any():
            return np.zeros(len(view.present)), state
        here = np.ix_(view.present, view.present)
        weights, means = vaccinate(present_gramian(view), state["phi"][here], visiting_orders(view), self._beta)
        phi = state["phi"].copy()
        phi[here] = means
        return spread(weights, view), {"phi": phi}


def vaccinate(gramian: Matrix, means: Matrix, orders: Orders, beta: float) -> tuple[Vector, Matrix]:
    """GradVac's weights ``[n]`` and next mean cosines ``[n, n]``, task i meeting the others in the order ``orders[i]``.

    Row i of ``made`` says of what ``g_i'`` is made; all rows take their k-th step at once.
    """
    rows = np.arange(len(gramian))
    norms = np.sqrt(np.maximum(np.diag(gramian), 0.0))
    inverse_norms = inverse(norms)
    made = np.eye(len(gramian))
    products = gramian.copy()  # made @ gramian
    means = means.copy()
    for met in orders.T:
        length = np.sqrt(np.maximum((made * products).sum(axis=1), 0.0))
        counted = (met != rows) & (length > 0.0) & (norms[met] > 0.0)
        cosine = np.clip(products[rows, met] * inverse(length) * inverse_norms[met], -1.0, 1.0)
        mean = means[rows, met]
        target = np.minimum(mean, LARGEST_TARGET)
        sine, target_sine = np.sqrt(1.0 - cosine**2), np.sqrt(1.0 - target**2)
        turned = counted & (cosine < target)  # so the target is not -1
        add = np.where(turned, length * inverse_norms[met], 0.0)
        add *= target * np.divide(sine, target_sine, out=np.zeros(len(rows)), where=turned) - cosine
        made[rows, met] += add
        products += add[:, None] * gramian[met]
        means[rows, met] = np.where(counted, (1.0 - beta) * mean + beta * cosine, mean)
    return made.sum(axis=0), means
