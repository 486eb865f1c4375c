"""Uncertainty weighting (Kendall, Gal & Cipolla 2018, section 3; arXiv:1705.07115)."""

from typing import Literal

import numpy as np

from distmtl.balancing.adam import adam_init, adam_update
from distmtl.balancing.base import Needs, State, StepView, Vector


class Uncertainty:
    """Learns the log-variance s of each task's noise: the total loss is ``sum exp(-s) L / 2 + s / 2``.

    The network gets weight ``exp(-s) / 2`` from the s before the step. Adam moves s along its own gradient,
    ``(1 - exp(-s) L) / 2``, so that s tends to log L. Tasks that are absent from a step, or whose loss is not finite,
    keep their s and its moments.

    Args:
        lr: Adam's learning rate.
        initial: Where s starts.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, lr: float = 1e-3, initial: float = 0.0) -> None:
        self._lr = lr
        self._initial = initial

    def init(self, tasks: int) -> State:
        """The log-variances ``s [T]`` and Adam's state."""
        return {"s": np.full(tasks, self._initial), "adam": adam_init(tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``exp(-s) / 2`` ``[T]`` and the next state."""
        s: Vector = state["s"]
        weights = 0.5 * np.exp(-s)
        touched = view.present & np.isfinite(view.losses)
        s, adam = adam_update(s, 0.5 - weights * view.losses, touched, state["adam"], self._lr)
        return weights, {"s": s, "adam": adam}
