"""Equal weighting: the baseline that a well-tuned run is hard to beat with (Xin et al. 2022)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector


class Equal:
    """Weight 1 for every task, so that the objective is the sum of the tasks' own weights times their mean losses."""

    needs = Needs.NOTHING
    multiplies: Literal["loss", "gradient"] = "loss"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Ones."""
        return np.ones(len(view.present)), state
