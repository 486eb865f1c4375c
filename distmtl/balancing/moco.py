"""MoCo (Fernando et al. 2023, algorithm 1; arXiv:2210.12624)."""

from collections.abc import Callable

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.shards import Memories, Shard, column, weighted_sum

_TINY = 1e-30


class MoCo:
    """Combines a running estimate y of each task's gradient, with weights that follow the min-norm problem slowly.

    With ``h_i = g_i L_i / |g_i|`` and step sizes that fall as ``t^-decay``::

        y <- y - beta_t (y - h)
        lambda <- softmax(lambda - gamma_t (Y Y^T + rho I) lambda)
        d = sum_i lambda_i y_i

    t counts the steps from 1. An absent task keeps its y and its lambda; the weights of the others sum to 1.
    The normalisation by loss and norm is that of the authors' code.

    Args:
        beta: Step size of y at the first step, in (0, 1].
        gamma: Step size of lambda at the first step.
        rho: Ridge that draws the weights together.
        decay: Exponent with which both step sizes fall.
    """

    needs = Needs.GRAMIAN
    multiplies = "gradient"
    memories: tuple[str, ...] = ("y",)

    def __init__(self, beta: float = 0.5, gamma: float = 0.1, rho: float = 0.0, decay: float = 0.5) -> None:
        self._beta, self._gamma, self._rho, self._decay = beta, gamma, rho, decay

    def init(self, tasks: int) -> State:
        """The weights ``lambda [T]``."""
        return {"lambda": np.full(tasks, 1.0 / tasks)}

    def vectors(self, gradients: Shard, view: StepView, memories: Memories) -> tuple[Shard, dict[str, Shard]]:
        """The estimates y after this step."""
        if view.gramian is None:
            raise AssertionError("MoCo needs the Gramian")
        norms = np.sqrt(np.maximum(np.diag(view.gramian), _TINY))
        losses = np.where(view.present, np.abs(view.losses), 0.0)
        beta = np.where(view.present, min(1.0, self._beta * self._falling(view.step)), 0.0)
        aim = gradients * column(losses / norms, gradients)
        moved = memories["y"] + column(beta, gradients) * (aim - memories["y"])
        return moved * column(view.present.astype(np.float64), gradients), {"y": moved}

    def products(self, gradients: Shard, vectors: Shard, memories: Memories) -> Shard:  # noqa: ARG002
        """Inner products of the estimates."""
        return vectors @ vectors.T

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """The weights lambda after this step ``[T]``."""
        if view.gramian is None:
            raise AssertionError("MoCo needs the Gramian")
        before, here = state["lambda"], view.present
        gamma = self._gamma * self._falling(view.step)
        pull = view.gramian[np.ix_(here, here)] @ before[here] + self._rho * before[here]
        moved = before[here] - gamma * pull
        moved = np.exp(moved - moved.max()) if moved.size else moved
        after = before.copy()
        after[here] = before[here].sum() * moved / max(moved.sum(), _TINY)
        weights = np.zeros_like(before)
        weights[here] = moved / max(moved.sum(), _TINY)
        return weights, {"lambda": after}

    def combine(self, vectors: Shard, weights: Vector, chance: Callable[[], Shard]) -> Shard:  # noqa: ARG002
        """The weighted sum of the estimates."""
        return weighted_sum(vectors, weights)

    def _falling(self, step: int) -> float:
        return float((step + 1.0) ** -self._decay)
