"""Fast adaptive multitask optimization, FAMO (Liu et al. 2023, algorithm 1; arXiv:2306.03792)."""

from typing import Literal

import numpy as np

from distmtl.balancing.adam import adam_init, adam_update
from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import softmax, taking_part

GAP = 1e-8
"""Added to a loss above its floor before the logarithm, as in the authors' code."""


class Famo:
    """Learns logits ``xi`` so that all losses fall at the same rate, from losses alone.

    With ``z = softmax(xi)`` over the tasks of the step, the weights are ``c z / (L - floor + 1e-8)``, where c makes
    them sum to 1: the paper's scale. They are the gradient of ``c sum z log(L - floor)`` with c held constant. After
    the update, :meth:`after` gets the losses of the same rows anew and moves xi by Adam along
    ``J^T (log L_before - log L_after)`` plus ``weight_decay x xi``, J being the derivative of z: the tasks that gained
    most lose weight.

    A loss below the floor counts as the floor. Tasks that are absent, or whose loss is not finite before or after the
    update, keep their logit and its moments.

    Args:
        lr: Adam's learning rate for the logits.
        weight_decay: Pull of the logits to 0, added to their gradient.
        floor: The least value that any loss can have.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, lr: float = 0.025, weight_decay: float = 1e-3, floor: float = 0.0) -> None:
        self._lr = lr
        self._weight_decay = weight_decay
        self._floor = floor

    def init(self, tasks: int) -> State:
        """The logits ``xi [T]`` and Adam's state."""
        return {"xi": np.zeros(tasks), "adam": adam_init(tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``c z / (L - floor)`` ``[T]``; the state changes after the update alone."""
        # c z / D is softmax(xi - log D), which cannot overflow
        return softmax(state["xi"] - self._log_gaps(view.losses), taking_part(view)), state

    def after(self, view: StepView, losses: Vector, state: State) -> State:
        """The state after the update.

        Args:
            view: What the weights of this step were given.
            losses: Mean losses of the same rows after the update ``[T]``.
            state: What came with the weights.
        """
        among = taking_part(view) & np.isfinite(losses)
        z = softmax(state["xi"], among)
        gain = np.where(among, self._log_gaps(view.losses) - self._log_gaps(losses), 0.0)
        gradient = z * (gain - z @ gain) + self._weight_decay * state["xi"]
        xi, adam = adam_update(state["xi"], gradient, among, state["adam"], self._lr)
        return {"xi": xi, "adam": adam}

    def _log_gaps(self, losses: Vector) -> Vector:
        """``log(L - floor)`` ``[T]``, finite where the loss is; 0 elsewhere."""
        known = np.where(np.isfinite(losses), losses, self._floor + 1.0)
        logs: Vector = np.log(np.maximum(known - self._floor, 0.0) + GAP)
        return logs
