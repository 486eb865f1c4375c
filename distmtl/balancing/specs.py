"""Run-file models of balancers."""

from typing import Annotated, Literal

from pydantic import Field

from distmtl.spec import CustomSpec, Spec


class EqualSpec(Spec):
    """Every task's mean loss counts once, times its own weight."""

    kind: Literal["equal"] = "equal"
    route: Literal["auto", "loss"] = "auto"
    """How task weights reach the update."""


class FixedSpec(Spec):
    """Weights by task, times the task's own weight."""

    kind: Literal["fixed"] = "fixed"
    route: Literal["auto", "loss"] = "auto"
    """How task weights reach the update."""
    weights: dict[str, float]
    """Weight by task name; tasks that are not named get 1."""


class UncertaintySpec(Spec):
    """Homoscedastic uncertainty (Kendall et al. 2018): w = exp(-s) / 2, s learned per task."""

    kind: Literal["uncertainty"] = "uncertainty"
    route: Literal["auto", "loss"] = "auto"
    """How task weights reach the update."""
    lr: float = Field(default=1e-3, gt=0.0)
    """Adam's learning rate for the log-variances s."""
    initial: float = 0.0
    """Where the log-variances start."""


BalancingSpec = Annotated[EqualSpec | FixedSpec | UncertaintySpec | CustomSpec, Field(discriminator="kind")]
