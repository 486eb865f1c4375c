"""GradDrop (Chen et al. 2020, algorithm 1; arXiv:2010.06808)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.shards import Memories, Shard


class GradDrop:
    """Keeps, element by element, the gradients of one sign only.

    The positive sign is kept with probability ``(1 + sum g / sum |g|) / 2``, drawn for each element by (seed, step,
    parameter, element), so that it does not matter which worker holds the element. A task's gradient passes unmasked
    with the share ``leak``. The update is the sum over tasks. The paper masks the gradient of the features; here, as in
    later libraries, it is that of the trunk's parameters.

    Args:
        leak: Share of each gradient that is not masked, in [0, 1].
    """

    needs = Needs.GRAMIAN
    multiplies = "gradient"
    memories: tuple[str, ...] = ()

    def __init__(self, leak: float = 0.0) -> None:
        self._leak = leak

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Ones: what is dropped is decided by element."""
        return np.where(view.present, 1.0, 0.0), state

    def vectors(self, gradients: Shard, view: StepView, memories: Memories) -> tuple[Shard, dict[str, Shard]]:  # noqa: ARG002
        """The gradients."""
        return gradients, {}

    def products(self, gradients: Shard, vectors: Shard, memories: Memories) -> Shard:  # noqa: ARG002
        """The Gramian."""
        return gradients @ gradients.T

    def combine(self, vectors: Shard, weights: Vector, chance: Callable[[], Shard]) -> Shard:  # noqa: ARG002
        """The sum of what is kept."""
        total, size = vectors.sum(0), abs(vectors).sum(0)
        purity: Any = (total / (size + (size == 0)) + 1) / 2
        positive = chance() < purity
        kept = ((vectors > 0) & positive) | ((vectors < 0) & ~positive)
        return ((self._leak + (1.0 - self._leak) * kept) * vectors).sum(0)
