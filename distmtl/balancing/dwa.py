"""Dynamic weight average (Liu, Johns & Davison 2019, section 3.2; arXiv:1803.10704)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import LOSS_FLOOR, softmax, taking_part


class Dwa:
    """Weight ``n softmax(r / tau)``, where r is a task's mean loss in the last window over that in the one before.

    A task whose loss falls more slowly than the others' gets more. The weights sum to n, the tasks of the step, as in
    the paper. There a window is an epoch; a mixture of sources has none, so here it is ``every`` steps. A ratio counts
    as 1 until both of its windows are past, so that all weights are 1 in the first two.

    A window of a task ends at its first label in a later one. A window without any label of a task is none of its
    windows: the task keeps its last ratio. Mean losses count as at least ``LOSS_FLOOR`` (1e-8); losses that are not
    finite are not counted.

    Args:
        every: Steps of a window.
        tau: The temperature; larger is closer to equal weights.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def __init__(self, every: int = 100, tau: float = 2.0) -> None:
        self._every = every
        self._tau = tau

    def init(self, tasks: int) -> State:
        """Per task ``[T]``: the open window with its sum and count of losses, and the means of the last two."""
        return {
            "window": np.zeros(tasks, dtype=np.int64),
            "sum": np.zeros(tasks),
            "count": np.zeros(tasks, dtype=np.int64),
            "last": np.full(tasks, np.nan),
            "before": np.full(tasks, np.nan),
        }

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``n softmax(r / tau)`` ``[T]`` and the next state."""
        window = view.step // self._every
        ended = view.present & (state["window"] < window) & (state["count"] > 0)
        last = np.where(ended, state["sum"] / np.maximum(state["count"], 1), state["last"])
        before = np.where(ended, state["last"], state["before"])
        counted = taking_part(view)
        following = {
            "window": np.where(view.present, window, state["window"]),
            "sum": np.where(ended, 0.0, state["sum"]) + np.where(counted, view.losses, 0.0),
            "count": np.where(ended, 0, state["count"]) + counted,
            "last": last,
            "before": before,
        }
        known = np.isfinite(last) & np.isfinite(before)
        ratio = np.where(known, np.maximum(last, LOSS_FLOOR) / np.maximum(before, LOSS_FLOOR), 1.0)
        return view.present.sum() * softmax(ratio / self._tau, view.present), following
