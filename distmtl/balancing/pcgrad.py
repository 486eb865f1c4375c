"""Projecting conflicting gradients, PCGrad (Yu et al. 2020, algorithm 1; arXiv:2001.06782)."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.cosines import inverse
from distmtl.balancing.submatrix import Matrix, solve_present

Orders = npt.NDArray[np.int64]
"""For each task, an order of all tasks [n, n]."""


class PcGrad:
    """Each task's gradient loses what conflicts with others: ``g_i' -= (g_i'.g_j / g_j.g_j) g_j`` where it is below 0.

    The j come in random order, drawn for each i from (seed, step); g_j is the gradient as it was. The update is the
    sum of the g_i', as in TorchJD and the paper: tasks without conflict have weight 1.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "gradient"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``[T]``: how much of each gradient is in the sum."""
        return solve_present(view, lambda gramian: project_conflicts(gramian, visiting_orders(view))), state


def visiting_orders(view: StepView) -> Orders:
    """For each present task, a random order of the present tasks ``[n, n]``, the same wherever the step is taken."""
    tasks = int(view.present.sum())
    return view.generator().permuted(np.tile(np.arange(tasks), (tasks, 1)), axis=1)


def project_conflicts(gramian: Matrix, orders: Orders) -> Vector:
    """PCGrad's weights ``[n]``, task i meeting the others in the order ``orders[i]``; itself, it passes over.

    Row i of ``made`` says of what ``g_i'`` is made; all rows take their k-th step at once.
    """
    rows = np.arange(len(gramian))
    inverse_squares = inverse(np.diag(gramian))
    made = np.eye(len(gramian))
    products = gramian.copy()  # made @ gramian
    for met in orders.T:
        product = products[rows, met]
        add = np.where((product < 0.0) & (met != rows), -product * inverse_squares[met], 0.0)
        made[rows, met] += add
        products += add[:, None] * gramian[met]
    weights: Vector = made.sum(axis=0)
    return weights
