"""ExcessMTL (He et al. 2024, algorithm 1; arXiv:2402.02009)."""

from collections.abc import Callable

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.shards import Memories, Shard, column, weighted_sum

_EPSILON = 1e-7
_TINY = 1e-30


class ExcessMtl:
    """Weighs tasks by how far each still is from its own optimum, so that noisy labels do not draw all the weight.

    The excess risk is estimated by the gradient scaled with Adagrad's diagonal, ``e_i = g_i^T g_i / sqrt(S_i)`` with
    ``S_i <- S_i + g_i^2`` element by element, relative to its first value, and ::

        w_i <- w_i exp(eta e_i / e_i0), scaled to sum 1 over the present tasks

    Args:
        eta: Step size of the weights.
    """

    needs = Needs.GRAMIAN
    multiplies = "gradient"
    memories: tuple[str, ...] = ("squares",)

    def __init__(self, eta: float = 1.0) -> None:
        self._eta = eta

    def init(self, tasks: int) -> State:
        """The weights ``[T]``, and the first excess risks ``[T]``, 0 until they are known."""
        return {"weights": np.full(tasks, 1.0 / tasks), "first": np.zeros(tasks)}

    def vectors(self, gradients: Shard, view: StepView, memories: Memories) -> tuple[Shard, dict[str, Shard]]:
        """The gradients; the squares grow."""
        here = column(view.present.astype(np.float64), gradients)
        return gradients, {"squares": memories["squares"] + here * gradients * gradients}

    def products(self, gradients: Shard, vectors: Shard, memories: Memories) -> Shard:
        """Inner products of gradients and scaled gradients; its diagonal is the excess risk."""
        return gradients @ (vectors / (memories["squares"] + _EPSILON) ** 0.5).T

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """The weights after this step ``[T]``."""
        if view.gramian is None:
            raise AssertionError("ExcessMTL needs inner products")
        here = view.present
        excess = np.maximum(np.diag(view.gramian), 0.0)
        first = np.where(here & (state["first"] == 0.0), excess, state["first"])
        rise = self._eta * excess[here] / np.maximum(first[here], _TINY)
        before = state["weights"][here]
        grown = before * np.exp(rise - rise.max(initial=0.0))
        share = grown / max(grown.sum(), _TINY)
        # Together the present tasks keep what they had, so that the absent ones' weights stay comparable.
        after, weights = state["weights"].copy(), np.zeros(len(here))
        after[here], weights[here] = before.sum() * share, share
        return weights, {"weights": after, "first": first}

    def combine(self, vectors: Shard, weights: Vector, chance: Callable[[], Shard]) -> Shard:  # noqa: ARG002
        """The weighted sum of the gradients."""
        return weighted_sum(vectors, weights)
