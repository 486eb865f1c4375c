"""Weights from the Gramian of the tasks that are present: absent ones leave it, rather than count as zero."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import Needs, State, StepView, Vector

Matrix = npt.NDArray[np.float64]
"""A Gramian, or another float64 matrix over tasks [T, T]."""


def present_gramian(view: StepView) -> Matrix:
    """The Gramian's rows and columns of the present tasks ``[n, n]``."""
    if view.gramian is None:
        raise AssertionError("a balancer with needs = GRAMIAN is given the Gramian")
    here: Matrix = view.gramian[np.ix_(view.present, view.present)]
    return here


def spread(values: Vector, view: StepView) -> Vector:
    """Values of the present tasks ``[n]`` at their places among all ``[T]``, 0 elsewhere."""
    everywhere = np.zeros(len(view.present))
    everywhere[view.present] = values
    return everywhere


def solve_present(view: StepView, solve: Callable[[Matrix], Vector]) -> Vector:
    """What ``solve`` makes of the present tasks' Gramian ``[T]``; 0 for absent tasks, and everywhere if none is there.

    Args:
        view: The step.
        solve: From a Gramian ``[n, n]``, n > 0, to weights ``[n]``.
    """
    if not view.present.any():
        return np.zeros(len(view.present))
    return spread(solve(present_gramian(view)), view)


class StatelessBalancer(ABC):
    """A balancer whose weights follow from the step's Gramian alone.

    The weights act on the trunk's gradients: the update is ``d = sum w_i g_i``.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "gradient"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """The method's weights of the present tasks ``[T]``, 0 for absent ones."""
        return solve_present(view, self.solve), state

    @abstractmethod
    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]`` for a Gramian ``[n, n]`` of present tasks."""
