"""Gradient normalization, GradNorm (Chen et al. 2018, algorithm 1; arXiv:1711.02257)."""

from typing import Literal

import numpy as np

from distmtl.balancing.adam import adam_init, adam_update
from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import LOSS_FLOOR, taking_part

SMALLEST_WEIGHT = 1e-4
"""What a learned weight does not fall below, since Adam may carry it past 0."""


class GradNorm:
    """Learns weights w, from 1, that bring the norms of the weighted task gradients to a common scale.

    With n the norms of the step's task gradients, Adam moves w down ``sum |w n - mean(w n) r^alpha|``, where
    ``r = (L / L_first) / mean(L / L_first)`` and the target ``mean(w n) r^alpha`` is held constant: the derivative is
    ``n sign(w n - target)``. The step uses the w from before.

    - n is taken over the whole trunk, and from task weight x mean loss. The paper takes the last shared layer. A
      task's own weight therefore cancels: GradNorm decides the balance alone.
    - The weights of a step sum to the number of its tasks. Those that take part keep the sum that they had in the
      state, so that absent tasks do not change their share; with all tasks present that is the paper's
      renormalisation to T. A task alone in a step has weight 1 and learns nothing.
    - ``L_first`` is the first loss that a task shows. Losses count as at least ``LOSS_FLOOR`` (1e-8); tasks whose loss
      or gradient is not finite keep their state.

    Args:
        alpha: How much more a task counts that learns slowly; 0 makes all weighted norms equal.
        lr: Adam's learning rate for w.
    """

    needs = Needs.GRAMIAN
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, alpha: float = 1.5, lr: float = 0.025) -> None:
        self._alpha = alpha
        self._lr = lr

    def init(self, tasks: int) -> State:
        """The weights ``w [T]``, each task's first loss (NaN before it), and Adam's state."""
        return {"w": np.ones(tasks), "first": np.full(tasks, np.nan), "adam": adam_init(tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``[T]`` from before the step, and the next state."""
        if view.gramian is None:
            raise AssertionError("GradNorm is given the Gramian")
        w: Vector = state["w"]
        here = view.present
        used = np.where(here, w * (here.sum() / max(w[here].sum(), SMALLEST_WEIGHT)), 0.0)
        norms: Vector = np.sqrt(np.maximum(np.diag(view.gramian), 0.0))
        among = taking_part(view) & np.isfinite(norms)
        if not among.any():
            return used, state
        losses = np.maximum(np.where(among, view.losses, 1.0), LOSS_FLOOR)
        first = np.where(among & np.isnan(state["first"]), losses, state["first"])
        rate = losses[among] / first[among]
        weighted = used[among] * norms[among]
        target = weighted.mean() * (rate / rate.mean()) ** self._alpha
        gradient = np.zeros(len(w))
        gradient[among] = norms[among] * np.sign(weighted - target)
        moved, adam = adam_update(w, gradient, among, state["adam"], self._lr)
        moved = np.where(among, np.maximum(moved, SMALLEST_WEIGHT), moved)
        moved = np.where(among, moved * (w[among].sum() / moved[among].sum()), moved)
        return used, {"w": moved, "first": first, "adam": adam}
