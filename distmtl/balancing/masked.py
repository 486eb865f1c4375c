"""Functions of the tasks that take part in a step: the others are left out, not counted as zero."""

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import StepView, Vector

Mask = npt.NDArray[np.bool_]
"""One truth value per task [T]."""

LOSS_FLOOR = 1e-8
"""What a smaller loss, zero or a negative one counts as where a method takes its logarithm or divides by it."""


def taking_part(view: StepView) -> Mask:
    """Tasks that are present and whose loss is finite ``[T]``."""
    return view.present & np.isfinite(view.losses)


def log_losses(losses: Vector, among: Mask) -> Vector:
    """Logarithms of the losses, each at least ``LOSS_FLOOR`` ``[T]``; 0 for the tasks that are not among these."""
    logs: Vector = np.log(np.maximum(np.where(among, losses, 1.0), LOSS_FLOOR))
    return logs


def softmax(logits: Vector, among: Mask) -> Vector:
    """``exp(logits)`` scaled to sum 1 over these tasks ``[T]``; 0 for the others, whose logits are not read."""
    if not among.any():
        return np.zeros(len(among))
    known = np.where(among, logits, -np.inf)
    powers = np.exp(known - known.max())
    shares: Vector = powers / powers.sum()
    return shares
