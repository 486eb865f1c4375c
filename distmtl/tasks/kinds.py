"""What a task predicts: one class per kind.

A kind says how many numbers a head gives per row, what they mean, and which label a target value stands for. Losses and
metrics stand in files of their own.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from distmtl.errors import ConfigError
from distmtl.features import LabelInfo
from distmtl.tasks.losses import RowLoss, build_loss
from distmtl.tasks.metrics import binary_metrics, multiclass_metrics, regression_metrics
from distmtl.tasks.specs import (
    LOSSES,
    METRICS,
    BceSpec,
    CrossEntropySpec,
    LossSpec,
    Metric,
    MseSpec,
    TaskKindName,
    TaskSpec,
)

_DEFAULT_LOSS: dict[TaskKindName, LossSpec] = {
    "binary": BceSpec(),
    "multiclass": CrossEntropySpec(),
    "regression": MseSpec(),
}


@dataclass(frozen=True)
class Task(ABC):
    """One thing to predict.

    Attributes:
        name: The task's name in the run.
        outputs: Numbers C that its head gives per row.
        metric_names: Metrics to report.
        loss: Loss of each row.
    """

    name: str
    outputs: int
    metric_names: tuple[Metric, ...]
    loss: RowLoss

    def valid(self, target: Tensor) -> Tensor:
        """Which rows have a label ``[N]`` bool; a missing one is NaN, or -1 among integers."""
        return ~target.isnan() if target.is_floating_point() else target >= 0

    def losses(self, output: Tensor, target: Tensor, *, complete: bool = False) -> Tensor:
        """Loss of each row ``[N]``, in float32 or wider.

        It is exactly 0, with a gradient of exactly 0, where the label is missing.

        Args:
            output: The head's output ``[N, C]``.
            target: The label column ``[N]``, as it is in a batch.
            complete: Whether every row is known to have a label, which saves a dozen small operations.
        """
        wide = output.to(torch.promote_types(output.dtype, torch.float32))
        if complete:
            return self.loss(wide, self._label(target, wide), None)
        valid = self.valid(target)
        return self.loss(wide, self._label(torch.where(valid, target, 0), wide), valid)

    @abstractmethod
    def predictions(self, output: Tensor) -> Tensor:
        """What :meth:`metrics` takes, one value per row ``[N]``."""

    @abstractmethod
    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """Metrics over rows that all have a label, in row order; NaN where the data leaves one undefined."""

    @abstractmethod
    def _label(self, target: Tensor, output: Tensor) -> Tensor:
        """The target as the loss takes it ``[N]``; ``output`` has the float type to use."""


@dataclass(frozen=True)
class BinaryTask(Task):
    """Class 0 or 1 by one logit; losses get the class as an integer, predictions are probabilities of class 1."""

    def predictions(self, output: Tensor) -> Tensor:
        """Probabilities in float64, in which large logits still differ."""
        return torch.sigmoid(output[:, 0].double())

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """See :func:`distmtl.tasks.metrics.binary_metrics`."""
        return binary_metrics(self.metric_names, predictions, targets)

    def _label(self, target: Tensor, output: Tensor) -> Tensor:  # noqa: ARG002  a kind may need it
        return target.long()


@dataclass(frozen=True)
class MulticlassTask(Task):
    """One of C classes by a softmax; losses get the class index, predictions are class indices."""

    def predictions(self, output: Tensor) -> Tensor:
        """The class with the largest output, the first one of equals."""
        return output.argmax(dim=1)

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """See :func:`distmtl.tasks.metrics.multiclass_metrics`."""
        return multiclass_metrics(self.metric_names, self.outputs, predictions, targets)

    def _label(self, target: Tensor, output: Tensor) -> Tensor:  # noqa: ARG002  a kind may need it
        return target.long()


@dataclass(frozen=True)
class RegressionTask(Task):
    """A number; the head and the loss see it standardised, predictions are in the target's unit.

    Attributes:
        mean: Mean of the target over the train split.
        std: Standard deviation over the train split, or 1 where the target is constant.
    """

    mean: float
    std: float

    def predictions(self, output: Tensor) -> Tensor:
        """Predictions in float64, in the target's unit."""
        return output[:, 0].double() * self.std + self.mean

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """See :func:`distmtl.tasks.metrics.regression_metrics`."""
        return regression_metrics(self.metric_names, predictions, targets)

    def _label(self, target: Tensor, output: Tensor) -> Tensor:
        # a float32 target with a large mean keeps its digits only if the mean is subtracted in float64
        return ((target.double() - self.mean) / self.std).to(output.dtype)


def build_task(name: str, spec: TaskSpec, label: LabelInfo) -> Task:
    """A task from its part of the run file and what its target looks like.

    Raises:
        ConfigError: The target does not fit the kind, the loss or a metric does not, or a custom loss cannot be used.
    """
    loss_spec = spec.loss or _DEFAULT_LOSS[spec.kind]
    metrics = METRICS[spec.kind] if spec.metrics is None else spec.metrics
    _check_fit(name, spec, loss_spec, metrics)
    outputs = _outputs(name, spec.kind, label)
    loss = build_loss(loss_spec, label)
    match spec.kind:
        case "binary":
            return BinaryTask(name, outputs, metrics, loss)
        case "multiclass":
            return MulticlassTask(name, outputs, metrics, loss)
        case "regression":
            std = label.std if label.std > 0.0 else 1.0
            return RegressionTask(name, outputs, metrics, loss, label.mean, std)


def _check_fit(name: str, spec: TaskSpec, loss: LossSpec, metrics: tuple[Metric, ...]) -> None:
    if loss.kind not in LOSSES[spec.kind]:
        raise ConfigError(
            f"loss '{loss.kind}' does not fit a {spec.kind} task.",
            f"tasks.{name}.loss",
            f"Use one of {', '.join(LOSSES[spec.kind])}.",
        )
    for metric in metrics:
        if metric not in METRICS[spec.kind]:
            raise ConfigError(
                f"metric '{metric}' does not fit a {spec.kind} task.",
                f"tasks.{name}.metrics",
                f"Use {', '.join(METRICS[spec.kind])}.",
            )


def _outputs(name: str, kind: TaskKindName, label: LabelInfo) -> int:
    """Numbers per row that a head needs, once the target is known to fit."""
    where = f"tasks.{name}.target"
    if kind == "regression":
        if label.classes is not None:
            raise ConfigError(
                f"column '{label.column}' holds text, not numbers.", where, "Use 'kind: multiclass' or 'kind: binary'."
            )
        return 1
    classes = len(label.classes or label.class_counts or ())
    if kind == "binary":
        zero_or_one = label.minimum >= 0.0 and label.maximum <= 1.0 and label.class_counts is not None
        if classes > 2 or not (label.classes or zero_or_one):
            raise ConfigError(
                f"column '{label.column}' has values other than two classes (0 and 1, or two texts).",
                where,
                "Use 'kind: multiclass'.",
            )
        return 1
    if classes < 2:
        raise ConfigError(
            f"column '{label.column}' does not hold at least two classes.",
            where,
            "Use 'kind: regression' for numbers that are no class indices 0, 1, 2 ...",
        )
    return classes
