"""The sum of log losses: the logarithm of the geometric loss strategy (Chennupati et al. 2019; arXiv:1904.08492)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import log_losses, taking_part


class GlsLog:
    """The objective is ``sum log L`` over the tasks of the step; its derivative gives weight ``1 / L``.

    The direction is that of :class:`~distmtl.balancing.gls.Gls`. The length differs: the gradient of a logarithm does
    not change when a loss is measured in another unit, so neither does the update, while the geometric mean's shrinks
    with every loss that falls, and with their unit. Here it is large when losses come near 0: clip the gradient.

    Losses count as at least ``LOSS_FLOOR`` (1e-8), negative ones too. A task whose loss is not finite has weight 0.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``1 / L`` ``[T]``."""
        among = taking_part(view)
        return np.where(among, np.exp(-log_losses(view.losses, among)), 0.0), state
