"""What the Gramian of a step tells of its tasks, for the metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distmtl.balancing.base import Balancer
from distmtl.training.weighing import Balance


def describe(balance: Balance, balancer: Balancer, tasks: Sequence[str]) -> dict[str, Any]:
    """Norms and cosines of the present tasks' gradients (task weight included), weights, and the solver's residual.

    Args:
        balance: An answer that was made of a Gramian.
        balancer: Who gave it.
        tasks: Names of all tasks.
    """
    view = balance.view
    if view is None or view.gramian is None:
        return {}
    present = np.flatnonzero(view.present).tolist()
    gramian = view.gramian[np.ix_(present, present)]
    norms = np.sqrt(np.maximum(np.diag(gramian), 0.0))
    scale = np.where(norms > 0.0, norms, 1.0)
    line: dict[str, Any] = {
        "step": view.step,
        "tasks": [tasks[number] for number in present],
        "norms": norms.tolist(),
        "cosines": np.round(gramian / np.outer(scale, scale), 6).tolist(),
        "weights": balance.weights[present].tolist(),
    }
    residual = getattr(balancer, "residual", None)
    if residual is not None and np.isfinite(gramian).all():
        value = float(residual(gramian, balance.weights[present]))
        line |= {"residual": value} if np.isfinite(value) else {}
    return line
