"""Run-file models of balancers that weigh the tasks' losses."""

from typing import Literal

from pydantic import Field

from distmtl.balancing.gradient_specs import GradientSpec
from distmtl.spec import Named, Spec


class LossSpec(Spec):
    """What all balancers share that know a step by its losses."""

    route: Literal["auto", "loss"] = "auto"
    """How task weights reach the update."""


class EqualSpec(LossSpec):
    """Every task's mean loss counts once, times its own weight."""

    kind: Literal["equal"] = "equal"


class FixedSpec(LossSpec):
    """Weights by task, times the task's own weight."""

    kind: Literal["fixed"] = "fixed"
    weights: dict[str, float]
    """Weight by task name; tasks that are not named get 1."""


class UncertaintySpec(LossSpec):
    """Homoscedastic uncertainty (Kendall et al. 2018): w = exp(-s) / 2, s learned per task."""

    kind: Literal["uncertainty"] = "uncertainty"
    lr: float = Field(default=1e-3, gt=0.0)
    """Adam's learning rate for the log-variances s."""
    initial: float = 0.0
    """Where the log-variances start."""


class DwaSpec(LossSpec):
    """Dynamic weight average (Liu et al. 2019): more for tasks whose mean loss falls more slowly."""

    kind: Literal["dwa"] = "dwa"
    every: int = Field(default=100, ge=1)
    """Steps over which losses are averaged; the paper's epoch."""
    tau: float = Field(default=2.0, gt=0.0)
    """Temperature: larger is closer to equal weights."""


class RlwSpec(LossSpec):
    """Random loss weighting (Lin et al. 2022): softmax of normal numbers, drawn anew in each step; they sum to 1."""

    kind: Literal["rlw"] = "rlw"


class GlsSpec(LossSpec):
    """Geometric loss strategy (Chennupati et al. 2019): the geometric mean of the losses."""

    kind: Literal["gls"] = "gls"


class GlsLogSpec(LossSpec):
    """The sum of log losses: the direction of 'gls', whatever the unit of a loss."""

    kind: Literal["gls_log"] = "gls_log"


class ImtlLSpec(LossSpec):
    """IMTL-L (Liu et al. 2021): w = exp(s), s learned so that all weighted losses tend to 1."""

    kind: Literal["imtl_l"] = "imtl_l"
    lr: float = Field(default=1e-3, gt=0.0)
    """Adam's learning rate for the log-scales s."""


class StchSpec(LossSpec):
    """Smooth Tchebycheff (Lin et al. 2024): a smooth maximum of the losses over those of a warm-up."""

    kind: Literal["stch"] = "stch"
    mu: float = Field(default=1.0, gt=0.0)
    """Smoothness: near 0 the task that has improved least counts alone."""
    warmup_steps: int = Field(default=500, ge=0)
    """Steps with the sum of log losses, whose mean losses are then the measure; four epochs in the authors' code."""


class FamoSpec(LossSpec):
    """FAMO (Liu et al. 2023): all losses fall at one rate; a second forward pass over the step's rows."""

    kind: Literal["famo"] = "famo"
    lr: float = Field(default=0.025, gt=0.0)
    """Adam's learning rate for the task logits."""
    weight_decay: float = Field(default=1e-3, ge=0.0)
    """Pull of the task logits to 0."""
    floor: float = 0.0
    """The least value that any loss can have."""


class GradNormSpec(GradientSpec):
    """GradNorm (Chen et al. 2018): learns weights that bring the norms of the task gradients to a common scale."""

    kind: Literal["gradnorm"] = "gradnorm"
    alpha: float = Field(default=1.5, ge=0.0)
    """How much more a task counts that learns slowly; 0 makes all weighted norms equal."""
    lr: float = Field(default=0.025, gt=0.0)
    """Adam's learning rate for the weights."""


class SchedulePoint(Spec):
    """Task weights at a step."""

    step: int = Field(ge=0)
    """The step."""
    weights: Named[float]
    """Weight by task name; a task that is not named keeps the weight of the point before, or 1."""


class ScheduledSpec(LossSpec):
    """Weights that go in straight lines from point to point, times the task's own weight."""

    kind: Literal["scheduled"] = "scheduled"
    points: tuple[SchedulePoint, ...] = Field(min_length=1)
    """Steps, ascending, and the weights that hold at them."""
