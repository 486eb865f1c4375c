"""The balancers that weigh losses, and steps to give them."""

import numpy as np
from hypothesis import strategies as st

from distmtl.balancing.base import StepView
from distmtl.balancing.dwa import Dwa
from distmtl.balancing.famo import Famo
from distmtl.balancing.gls import Gls
from distmtl.balancing.gls_log import GlsLog
from distmtl.balancing.gradnorm import GradNorm
from distmtl.balancing.imtl_l import ImtlL
from distmtl.balancing.rlw import Rlw
from distmtl.balancing.scheduled import Scheduled
from distmtl.balancing.stch import Stch
from tests.balancing.laws import Make

POINTS = [{"step": 1, "weights": {"a": 0.0}}, {"step": 4, "weights": {"a": 3.0}}]

LOSS_FAMILY: dict[str, Make] = {
    "dwa": lambda tasks: Dwa(every=2, tau=0.5),
    "rlw": lambda tasks: Rlw(),
    "gls": lambda tasks: Gls(),
    "gls_log": lambda tasks: GlsLog(),
    "imtl_l": lambda tasks: ImtlL(lr=0.1),
    "stch": lambda tasks: Stch(mu=0.5, warmup_steps=2),
    "famo": lambda tasks: Famo(),
    "gradnorm": lambda tasks: GradNorm(lr=0.2),
    "scheduled": lambda tasks: Scheduled(tasks, POINTS),
}
"""Every balancer of the family with state that changes within a few steps."""


def view(
    losses: list[float], present: list[bool] | None = None, step: int = 0, norms: list[float] | None = None
) -> StepView:
    """A step; tasks without a finite loss are absent unless ``present`` says more."""
    known = np.array(losses, dtype=np.float64)
    here = np.isfinite(known) if present is None else np.array(present)
    gramian = None if norms is None else np.diag(np.array(norms) ** 2)
    return StepView(step, here, known, gramian)


@st.composite
def masked_losses(draw: st.DrawFn, *, largest: int = 6) -> tuple[list[float], list[bool]]:
    """Losses over twelve decades, and which tasks are present: one at least."""
    tasks = draw(st.integers(1, largest))
    decades = draw(st.lists(st.floats(-6.0, 6.0), min_size=tasks, max_size=tasks))
    present = draw(st.lists(st.booleans(), min_size=tasks, max_size=tasks).filter(any))
    return [10.0**decade for decade in decades], present
