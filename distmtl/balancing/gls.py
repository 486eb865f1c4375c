"""The geometric loss strategy (Chennupati et al. 2019, MultiNet++, equation 4; arXiv:1904.08492)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.masked import log_losses, taking_part


class Gls:
    """The objective is the geometric mean of the losses, ``(L_1 ... L_n)^(1/n)`` over the n tasks of the step.

    Its derivative gives weight ``geometric mean / (n L)``: weight x loss is the same for all tasks, and falls as they
    learn. See :class:`~distmtl.balancing.gls_log.GlsLog` for the same direction without that fall.

    Losses count as at least ``LOSS_FLOOR`` (1e-8), negative ones too. A task whose loss is not finite has weight 0.
    """

    needs = Needs.LOSSES
    multiplies: Literal["loss", "gradient"] = "loss"

    def init(self, tasks: int) -> State:  # noqa: ARG002  part of the protocol
        """No state."""
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        """Weights ``geometric mean / (n L)`` ``[T]``."""
        among = taking_part(view)
        count = max(1, int(among.sum()))
        logs = log_losses(view.losses, among)
        return np.where(among, np.exp(logs.sum() / count - logs) / count, 0.0), state
