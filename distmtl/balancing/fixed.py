"""Fixed weights by task."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.errors import ConfigError


class Fixed:
    """The weights of the run file; a task that is not named there has weight 1.

    Args:
        weights: Weight by task name, at least 0 and finite.
        tasks: The run's tasks, in the order of a step's vectors.

    Raises:
        ConfigError: A name is no task, or a weight is negative or not finite.
    """

    needs = Needs.NOTHING
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, weights: Mapping[str, float], tasks: Sequence[str]) -> None:
        check_weights(weights, tasks, "balancing.weights")
        self._weights = np.array([weights.get(task, 1.0) for task in tasks], dtype=np.float64)

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:  # noqa: ARG002  part of the protocol
        """The given weights."""
        return self._weights.copy(), state


def check_weights(weights: Mapping[str, float], tasks: Sequence[str], where: str) -> None:
    """Check weights by task name that the run file gives at ``where``.

    Raises:
        ConfigError: A name is no task, or a weight is negative or not finite.
    """
    for name, weight in weights.items():
        if name not in tasks:
            raise ConfigError(f"there is no task '{name}'.", where, f"The tasks are {', '.join(tasks)}.")
        if not (weight >= 0.0 and np.isfinite(weight)):
            raise ConfigError(f"the weight of task '{name}' is {weight}.", where, "Use a finite number of at least 0.")
