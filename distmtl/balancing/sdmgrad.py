"""Stochastic direction-oriented multi-objective gradient descent, SDMGrad (Xiao, Ban & Ji 2023; arXiv:2305.18409)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.cosines import inverse
from distmtl.balancing.submatrix import Matrix, present_gramian, spread


class SdmGrad:
    """MGDA held near the mean gradient g_0, its weights followed from step to step rather than solved for.

    Each step moves w in the simplex by ``iterations`` steps of projected gradient descent with momentum on
    ``|g_w + pull g_0|^2 / 2``, ``g_w = sum w_i g_i``, the Gramian divided by the square of the gradients' mean norm.
    The update is ``(g_w + pull g_0) / (1 + pull)``: its weights sum to 1, as in TorchJD.

    The paper takes the gradient in w as ``J_1 J_2^T (w + pull / n)`` from two mini-batches beside that of the update,
    so that it is right on average. Here all is of one batch, the step's: the noise of the gradients adds to the
    Gramian's diagonal and pulls w towards equal weights. Absent tasks keep their w, and those present keep the sum of
    theirs.

    Args:
        pull: Strength of the pull towards g_0, the paper's lambda.
        lr: Step length of the descent.
        momentum: Its momentum, from 0 and below 1; it starts anew in each step.
        iterations: Steps of the descent.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "gradient"

    def __init__(self, pull: float = 0.3, lr: float = 10.0, momentum: float = 0.5, iterations: int = 20) -> None:
        self._pull = pull
        self._lr = lr
        self._momentum = momentum
        self._iterations = iterations

    def init(self, tasks: int) -> State:
        """The weights ``w [T]``, equal and of sum 1."""
        return {"w": np.full(tasks, 1.0 / tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``(w + pull / n) / (1 + pull)`` ``[T]`` and the next state."""
        if not view.present.any():
            return np.zeros(len(view.present)), state
        before = state["w"][view.present]
        share = float(before.sum())
        start = before / share if share > 0.0 else np.full(len(before), 1.0 / len(before))
        reached = self._descend(present_gramian(view), start)
        w = state["w"].copy()
        w[view.present] = share * reached
        return spread((reached + self._pull / len(reached)) / (1.0 + self._pull), view), {"w": w}

    def residual(self, gramian: Matrix, weights: Vector) -> float:
        """How far ``|d|^2`` may be above its least value, over ``(sum w_i |g_i|)^2``: the Frank-Wolfe gap."""
        w = weights * (1.0 + self._pull) - self._pull / len(weights)
        along = gramian @ weights
        size = float(weights @ np.sqrt(np.diag(gramian)))
        return max(0.0, float(w @ along - along.min())) / size**2 if size > 0.0 else 0.0

    def _descend(self, gramian: Matrix, w: Vector) -> Vector:
        scale = float(np.sqrt(np.maximum(np.diag(gramian), 0.0)).mean())
        scaled = gramian * inverse(np.array([scale])) ** 2
        velocity = np.zeros(len(w))
        for _ in range(self._iterations):
            velocity = self._momentum * velocity + scaled @ (w + self._pull / len(w))
            w = project_on_simplex(w - self._lr * velocity)
        return w


def project_on_simplex(point: Vector) -> Vector:
    """The nearest w with ``w >= 0`` and ``sum w = 1`` ``[n]`` (Held, Wolfe & Crowder 1974)."""
    falling = np.sort(point)[::-1]
    shifts = (np.cumsum(falling) - 1.0) / np.arange(1, len(point) + 1)
    shift = shifts[np.flatnonzero(falling > shifts)[-1]]
    projected: Vector = np.maximum(point - shift, 0.0)
    return projected
