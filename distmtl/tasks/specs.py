"""Run-file models of tasks: kinds, losses, metrics."""

from typing import Annotated, Literal

from pydantic import Field

from distmtl.spec import CustomSpec, Spec

Imbalance = Literal["none", "balanced"]


class BceSpec(Spec):
    """Binary cross-entropy on one logit."""

    kind: Literal["bce"] = "bce"
    imbalance: Imbalance = "none"
    """'balanced' gives both classes the same total weight, from the manifest's counts."""


class CrossEntropySpec(Spec):
    """Softmax cross-entropy."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    imbalance: Imbalance = "none"
    """'balanced' gives every class the same total weight, from the manifest's counts."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread over all classes."""


class MseSpec(Spec):
    """Squared error of the standardised target."""

    kind: Literal["mse"] = "mse"


class MaeSpec(Spec):
    """Absolute error of the standardised target."""

    kind: Literal["mae"] = "mae"


class HuberSpec(Spec):
    """Huber loss of the standardised target."""

    kind: Literal["huber"] = "huber"
    delta: float = Field(default=1.0, gt=0.0)
    """Where the loss turns from quadratic to linear, in standard deviations of the target."""


LossSpec = Annotated[
    BceSpec | CrossEntropySpec | MseSpec | MaeSpec | HuberSpec | CustomSpec, Field(discriminator="kind")
]

BinaryMetric = Literal["auroc", "ap", "accuracy", "f1", "mcc"]
MulticlassMetric = Literal["accuracy", "f1"]
RegressionMetric = Literal["rmse", "mae", "r2", "pearson"]
Metric = Literal["auroc", "ap", "accuracy", "f1", "mcc", "rmse", "mae", "r2", "pearson"]
TaskKindName = Literal["binary", "multiclass", "regression"]

METRICS: dict[TaskKindName, tuple[Metric, ...]] = {
    "binary": ("auroc", "ap", "accuracy", "f1", "mcc"),
    "multiclass": ("accuracy", "f1"),
    "regression": ("rmse", "mae", "r2", "pearson"),
}
"""The metrics that each kind of task can report; the first is the one that names the task in tables."""

LOSSES: dict[TaskKindName, tuple[str, ...]] = {
    "binary": ("bce", "custom"),
    "multiclass": ("cross_entropy", "custom"),
    "regression": ("mse", "mae", "huber", "custom"),
}
"""The losses that fit each kind of task; the first is the default."""

LOWER_IS_BETTER: frozenset[str] = frozenset({"rmse", "mae", "loss"})
"""Metrics that improve downwards."""


class TaskSpec(Spec):
    """One thing to predict, from one column of one source."""

    source: str
    """The source that holds the labels."""
    target: str
    """The label column."""
    kind: TaskKindName
    """What is predicted."""
    loss: LossSpec | None = None
    """The loss; by default bce, cross_entropy or mse."""
    metrics: tuple[Metric, ...] | None = None
    """The metrics to report; by default all that fit the kind."""
    weight: float = Field(default=1.0, ge=0.0)
    """Weight of this task's mean loss in the objective."""
