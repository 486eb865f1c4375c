"""The loss balance of impartial multi-task learning, IMTL-L (Liu et al. 2021, section 3.2; ICLR 2021)."""

from typing import Literal

import numpy as np

from distmtl.balancing.adam import adam_init, adam_update
from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import log_losses, taking_part


class ImtlL:
    """Learns a log-scale s per task, from 0: the total loss is ``sum exp(s) L - s``.

    The network gets weight ``exp(s)`` from the s before the step. Adam moves s along its own gradient,
    ``exp(s) L - 1``, so that s tends to -log L and every weighted loss to 1. It is twice uncertainty weighting with
    -s as log-variance.

    Losses count as at least ``LOSS_FLOOR`` (1e-8), since s has no limit where a loss is 0. Tasks that are absent, or
    whose loss is not finite, keep their s and its moments.

    Args:
        lr: Adam's learning rate for s.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, lr: float = 1e-3) -> None:
        self._lr = lr

    def init(self, tasks: int) -> State:
        """The log-scales ``s [T]`` and Adam's state."""
        return {"s": np.zeros(tasks), "adam": adam_init(tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``exp(s)`` ``[T]`` and the next state."""
        s: Vector = state["s"]
        among = taking_part(view)
        gradient = np.exp(s + log_losses(view.losses, among)) - 1.0
        moved, adam = adam_update(s, gradient, among, state["adam"], self._lr)
        return np.where(view.present, np.exp(s), 0.0), {"s": moved, "adam": adam}
