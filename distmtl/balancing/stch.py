"""Smooth Tchebycheff scalarization (Lin et al. 2024, section 3; arXiv:2402.19078)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import Mask, log_losses, softmax, taking_part


class Stch:
    """A smooth maximum of the losses, each measured against its mean over the warm-up, the nadir.

    The objective is ``n mu log sum exp(log(L / nadir) / mu)`` over the n tasks of the step, the form of the paper's
    multi-task experiments with equal preferences. Its derivative gives weight ``n p / L`` with
    ``p = softmax(log(L / nadir) / mu)``: the tasks that have improved least count most, and more so the smaller mu.
    Before step ``warmup_steps`` the objective is ``sum log L``, weight ``1 / L``, and the nadir is gathered. A task
    without a label in the warm-up takes its first loss as nadir.

    Losses and nadirs count as at least ``LOSS_FLOOR`` (1e-8), negative ones too. A task whose loss is not finite has
    weight 0.

    Args:
        mu: Smoothness: near 0 the largest ratio alone counts.
        warmup_steps: Steps of the warm-up.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, mu: float = 1.0, warmup_steps: int = 500) -> None:
        self._mu = mu
        self._warmup_steps = warmup_steps

    def init(self, tasks: int) -> State:
        """Sum and count of each task's losses in the warm-up ``[T]``."""
        return {"sum": np.zeros(tasks), "count": np.zeros(tasks, dtype=np.int64)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``1 / L`` in the warm-up, ``n p / L`` after it ``[T]``, and the next state."""
        among = taking_part(view)
        warming = view.step < self._warmup_steps
        following = _gathered(view.losses, among if warming else among & (state["count"] == 0), state)
        logs = log_losses(view.losses, among)
        if warming:
            return np.where(among, np.exp(-logs), 0.0), following
        nadir = following["sum"] / np.maximum(following["count"], 1)
        shares = softmax((logs - log_losses(nadir, among)) / self._mu, among)
        return np.where(among, among.sum() * shares * np.exp(-logs), 0.0), following


def _gathered(losses: Vector, here: Mask, state: State) -> State:
    return {"sum": state["sum"] + np.where(here, losses, 0.0), "count": state["count"] + here}
