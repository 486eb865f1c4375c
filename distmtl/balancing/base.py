"""The balancer protocol: how task losses and task gradients combine. NumPy only; no torch.

Notation: T tasks; G = J J^T the Gramian [T, T] of the task gradients J [T, P].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol

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
        losses: Mean loss over the task's valid labels of the step [T], without the task's weight; NaN where absent or
            not needed.
        gramian: Inner products of the global gradients of task weight x mean loss over the trunk [T, T], 0 where
            absent; None where not needed.
        seed: The run's seed. Whatever is random is drawn from a generator keyed by (seed, step).
    """

    step: int
    present: npt.NDArray[np.bool_]
    losses: Vector
    gramian: npt.NDArray[np.float64] | None
    seed: int = 0

    def generator(self) -> np.random.Generator:
        """Random numbers of this step, the same on every worker and after a resume."""
        return np.random.Generator(np.random.Philox(key=[self.seed % 2**64, self.step]))


class Balancer(Protocol):
    """Turns what is known of a step into one weight per task. All state is in the arguments.

    ``multiplies`` says where the weights act: on the loss, so that trunk and heads feel them, or on the trunk's
    gradients alone, while each head follows its own task.
    """

    needs: Needs
    multiplies: Literal["loss", "gradient"]

    def init(self, tasks: int) -> State:
        """The state before the first step."""
        ...

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights [T], those of absent tasks ignored, and the next state."""
        ...
