"""Balancers that need the task gradients themselves, not their inner products alone.

Each worker holds some columns of the matrix J ``[T, P]`` of global task gradients: a *shard* ``[T, n]``. What these
methods do to it is done element by element, so that shards are worked on apart, and whatever must be added over the
shards is a ``[T, T]`` matrix. They use operators and methods that NumPy arrays and torch tensors share.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from distmtl.balancing.base import Balancer, StepView, Vector

Shard = Any
"""``[T, n]`` numbers: a NumPy array or a torch tensor. Rows of absent tasks are 0."""

Memories = Mapping[str, Shard]
"""What a method remembers of every element, by name; a checkpoint keeps it beside the parameters."""


@runtime_checkable
class ShardBalancer(Balancer, Protocol):
    """Combines other vectors than the gradients, or combines them element by element.

    A step calls :meth:`vectors`, adds :meth:`products` over the shards, calls ``weights`` with that sum as the view's
    Gramian, and applies what :meth:`combine` returns. No call changes its arguments.

    Attributes:
        memories: Names of what it remembers, each as large as J and 0 before the first step.
    """

    memories: tuple[str, ...]

    def vectors(self, gradients: Shard, view: StepView, memories: Memories) -> tuple[Shard, dict[str, Shard]]:
        """What is combined in place of the gradients ``[T, n]``, and the next memories.

        Args:
            gradients: The shard of J.
            view: The step; its Gramian is that of J.
            memories: Those of this shard; absent tasks' rows must come back unchanged.
        """
        ...

    def products(self, gradients: Shard, vectors: Shard, memories: Memories) -> Shard:
        """This shard's part of the matrix ``[T, T]`` that ``weights`` sees; ``memories`` are the next ones."""
        ...

    def combine(self, vectors: Shard, weights: Vector, chance: Callable[[], Shard]) -> Shard:
        """This shard's part of the update ``[n]``.

        Args:
            vectors: From :meth:`vectors`.
            weights: From ``weights``, 0 where absent.
            chance: Gives a number in [0, 1) for each element ``[n]``, keyed by seed, step, parameter and element.
        """
        ...


def weighted_sum(vectors: Shard, weights: Vector) -> Shard:
    """``sum_i w_i v_i`` ``[n]``, in the vectors' own type."""
    total = vectors[0] * float(weights[0])
    for vector, weight in zip(vectors[1:], weights[1:], strict=True):
        if weight:
            total = total + vector * float(weight)
    return total


def column(values: Vector, like: Shard) -> Shard:
    """One number per task as ``[T, 1]``, in the type of a shard."""
    made = like[:, :1] * 0
    for row, value in enumerate(values):
        made[row] = float(value)
    return made
