"""Adam on a vector with one entry per task, for balancers that learn their weights (Kingma & Ba 2015)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import Vector

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def adam_init(size: int) -> dict[str, npt.NDArray[Any]]:
    """The state before the first step: both moments, and how often each entry was updated."""
    return {"mean": np.zeros(size), "square": np.zeros(size), "updates": np.zeros(size, dtype=np.int64)}


def adam_update(
    values: Vector, gradient: Vector, touched: npt.NDArray[np.bool_], state: Mapping[str, npt.NDArray[Any]], lr: float
) -> tuple[Vector, dict[str, npt.NDArray[Any]]]:
    """One step down the gradient, for the touched entries alone.

    Args:
        values: What is learned ``[T]``.
        gradient: Its gradient ``[T]``; anything, NaN too, where untouched.
        touched: Which entries have a gradient in this step ``[T]``. The others keep their value, their moments and
            their own count of updates, as if the step had not been.
        state: From :func:`adam_init` or the last update.
        lr: Learning rate.

    Returns:
        The next values and state; the arguments are not changed.
    """
    gradient = np.where(touched, gradient, 0.0)
    updates = state["updates"] + touched
    mean = np.where(touched, BETA_1 * state["mean"] + (1.0 - BETA_1) * gradient, state["mean"])
    square = np.where(touched, BETA_2 * state["square"] + (1.0 - BETA_2) * gradient**2, state["square"])
    count = np.maximum(updates, 1)
    step = lr * (mean / (1.0 - BETA_1**count)) / (np.sqrt(square / (1.0 - BETA_2**count)) + EPSILON)
    return np.where(touched, values - step, values), {"mean": mean, "square": square, "updates": updates}
