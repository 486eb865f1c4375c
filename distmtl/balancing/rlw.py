"""Random loss weighting (Lin et al. 2022, algorithm 2; arXiv:2111.10603)."""

from typing import Literal

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import softmax


class Rlw:
    """Weights ``softmax(z)`` with z drawn from N(0, I) anew in each step; they sum to 1 over the step's tasks.

    That is the paper's scale: the mean weight is 1/T, so the update is about T times shorter than with equal weights.
    The draw is keyed by (seed, step) and made for all T tasks, so that an absent task does not change what the others
    draw.
    """

    needs = Needs.NOTHING
    multiplies: Literal["loss", "gradient"] = "loss"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``softmax(z)`` ``[T]``."""
        return softmax(view.generator().standard_normal(len(view.present)), view.present), state
