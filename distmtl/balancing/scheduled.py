"""Weights by step, as a learning rate has: a curriculum of tasks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.fixed import check_weights
from distmtl.balancing.loss_specs import SchedulePoint
from distmtl.errors import ConfigError

_PLACE = "balancing.points"


class Scheduled:
    """Each weight goes in a straight line from point to point; the first and last points hold before and after.

    A task that a point does not name has the weight of the point before there; in the first point, 1.

    Args:
        tasks: The run's tasks, in the order of a step's vectors.
        points: Steps and the weights that hold at them: ``{step: 0, weights: {task: weight}}``.

    Raises:
        ConfigError: There is no point, the steps do not ascend, a name is no task, or a weight is negative or not
            finite.
    """

    needs = Needs.NOTHING
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, tasks: Sequence[str], points: Sequence[SchedulePoint | Mapping[str, Any]]) -> None:
        known = [SchedulePoint.model_validate(point) for point in points]
        if not known:
            raise ConfigError("there is no point.", _PLACE, "Give at least one step and its weights.")
        for earlier, later in pairwise(known):
            if later.step <= earlier.step:
                raise ConfigError(
                    f"step {later.step} comes after step {earlier.step}.", _PLACE, "Order the points by ascending step."
                )
        current = np.ones(len(tasks))
        rows = []
        for number, point in enumerate(known):
            check_weights(point.weights, tasks, f"{_PLACE}[{number}].weights")
            current = np.array([point.weights.get(task, before) for task, before in zip(tasks, current, strict=True)])
            rows.append(current)
        self._steps = np.array([point.step for point in known], dtype=np.float64)
        self._weights = np.stack(rows, axis=1)  # [T, points]

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state: the weights follow from the step."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """The weights of the step ``[T]``."""
        return np.array([np.interp(view.step, self._steps, line) for line in self._weights]), state
