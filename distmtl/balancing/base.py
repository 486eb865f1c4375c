"""The balancer protocol: how task losses and task gradients combine. NumPy only; no torch.

Notation: T tasks; G = J J^T the Gramian [T, T] of the task gradients J [T, P].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

State = Mapping[str, Any]
"""JSON values and NumPy arrays; a checkpoint keeps it as it is."""

Vector = npt.NDArray[np.float64]
"""One float64 number per task [T]."""


class Needs(Enum):
    """What must be known of a step before its weights are."""

    NOTHING = "nothing"
    LOSSES = "losses"
    GRAMIAN = "gramian"


@dataclass(frozen=True)
class StepView:
    """A step as a balancer sees it: global values, the same on every worker.

    Attributes:
        step: The step.
        present: Whether the task has a valid label in this step [T].
        losses: Mean loss over the task's valid labels of the step [T]; NaN where absent or not needed.
        gramian: Inner products of the global task gradients [T, T], or None where not needed.
    """

    step: int
    present: npt.NDArray[np.bool_]
    losses: Vector
    gramian: npt.NDArray[np.float64] | None


class Balancer(Protocol):
    """Turns what is known of a step into one weight per task. All state is in the arguments."""

    needs: Needs

    def init(self, tasks: int) -> State:
        """The state before the first step."""
        ...

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights [T], those of absent tasks ignored, and the next state."""
        ...
