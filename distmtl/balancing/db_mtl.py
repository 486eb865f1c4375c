"""Dual-balancing (Lin et al. 2023, section 3; arXiv:2308.12029)."""

from collections.abc import Callable

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.shards import Memories, Shard, column, weighted_sum

_SMALLEST = 1e-8


class DbMtl:
    """Balances the scale of losses by their logarithm, and that of gradients by the largest norm.

    With m the running mean of each ``grad log L_i`` (weight ``beta_t = beta / t^sigma`` on the past)::

        d = sum_i (max_j |m_j| / |m_i|) m_i

    Args:
        beta: Weight of the past, in [0, 1).
        sigma: Exponent with which that weight falls over the steps.
    """

    needs = Needs.GRAMIAN
    multiplies = "gradient"
    memories: tuple[str, ...] = ("m",)

    def __init__(self, beta: float = 0.9, sigma: float = 0.0) -> None:
        self._beta, self._sigma = beta, sigma

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state beside the running means."""
        return {}

    def vectors(self, gradients: Shard, view: StepView, memories: Memories) -> tuple[Shard, dict[str, Shard]]:
        """The running means m after this step."""
        past = self._beta / (view.step + 1.0) ** self._sigma
        share = np.where(view.present, 1.0 - past, 0.0)
        losses = np.where(view.present, np.maximum(view.losses, _SMALLEST), 1.0)
        moved = memories["m"] + column(share, gradients) * (gradients * column(1.0 / losses, gradients) - memories["m"])
        return moved * column(view.present.astype(np.float64), gradients), {"m": moved}

    def products(self, gradients: Shard, vectors: Shard, memories: Memories) -> Shard:  # noqa: ARG002
        """Inner products of the running means."""
        return vectors @ vectors.T

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Largest norm over own norm ``[T]``; 0 for a task whose mean is 0."""
        if view.gramian is None:
            raise AssertionError("DB-MTL needs the Gramian")
        norms = np.where(view.present, np.sqrt(np.maximum(np.diag(view.gramian), 0.0)), 0.0)
        filled = norms > 0.0
        return np.where(filled, norms.max(initial=0.0) / np.where(filled, norms, 1.0), 0.0), state

    def combine(self, vectors: Shard, weights: Vector, chance: Callable[[], Shard]) -> Shard:  # noqa: ARG002
        """The weighted sum of the running means."""
        return weighted_sum(vectors, weights)
