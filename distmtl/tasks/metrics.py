"""Metrics of a split, and how two values of one compare.

A metric is a pure function of the predictions and targets in row order, so it is the same number however many workers
computed the predictions. One that the data leaves undefined, such as the area under the curve of a split that holds one
class, is NaN; so is every metric of predictions that are not finite.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from distmtl.tasks.specs import LOWER_IS_BETTER, Metric

_NAN = float("nan")


def binary_metrics(names: Sequence[Metric], predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Metrics of a binary task: auroc, ap (average precision), and at a threshold of 0.5 accuracy, f1, mcc (Matthews).

    Args:
        names: Which of them.
        predictions: Probability of class 1 ``[N]``.
        targets: Class of each row ``[N]``, 0 or 1.
    """
    from torchmetrics.functional import classification as known  # takes seconds, and only evaluation needs it

    positives = int((targets == 1).sum())
    both = 0 < positives < len(targets)
    functions: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
        "auroc": (both, known.binary_auroc),
        "ap": (both, known.binary_average_precision),
        "accuracy": (True, known.binary_accuracy),
        "f1": (positives > 0, known.binary_f1_score),
        "mcc": (both, known.binary_matthews_corrcoef),
    }
    return _measure(names, functions, predictions, targets.long())


def multiclass_metrics(names: Sequence[Metric], classes: int, predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Metrics of a multiclass task: accuracy (share of right rows) and f1 (mean over the classes that occur).

    Args:
        names: Which of them.
        classes: Number of classes C.
        predictions: Class of each row ``[N]``, 0 to C - 1.
        targets: Likewise.
    """
    from torchmetrics.functional import classification as known

    functions: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
        "accuracy": (True, lambda p, t: known.multiclass_accuracy(p, t, num_classes=classes, average="micro")),
        "f1": (True, lambda p, t: known.multiclass_f1_score(p, t, num_classes=classes, average="macro")),
    }
    return _measure(names, functions, predictions, targets.long())


def regression_metrics(names: Sequence[Metric], predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Metrics of a regression, in float64: rmse and mae in the target's unit, r2, and pearson (correlation).

    Args:
        names: Which of them.
        predictions: Predictions in the target's unit ``[N]``.
        targets: Targets ``[N]``.
    """
    from torchmetrics import functional as known

    varies, moves = (len(values) > 0 and bool((values != values[0]).any()) for values in (targets, predictions))
    functions: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
        "rmse": (True, lambda p, t: known.mean_squared_error(p, t, squared=False)),
        "mae": (True, known.mean_absolute_error),
        "r2": (varies, known.r2_score),
        "pearson": (varies and moves, known.pearson_corrcoef),
    }
    # none of them changes when both are shifted, and r2 loses digits to sums of squares far from 0
    centre = targets.double().mean()
    return _measure(names, functions, predictions.double() - centre, targets.double() - centre)


def better(metric: str, a: float, b: float) -> bool:
    """Whether value ``a`` of a metric is better than ``b``; NaN is worse than any number.

    Args:
        metric: ``<task>/<metric>``, ``mean/<metric>``, ``<metric>`` or ``loss``.
        a: One value.
        b: The other.
    """
    if math.isnan(a) or math.isnan(b):
        return math.isnan(b) and not math.isnan(a)
    return a < b if metric.rpartition("/")[2] in LOWER_IS_BETTER else a > b


def aggregate(tasks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """All metrics in one flat mapping.

    Returns:
        ``<task>/<metric>`` for every value, and ``mean/<metric>`` over the tasks for which the metric is defined (NaN
        where it is for none).
    """
    flat = {f"{task}/{metric}": value for task, metrics in tasks.items() for metric, value in metrics.items()}
    for metric in dict.fromkeys(metric for metrics in tasks.values() for metric in metrics):
        values = [metrics[metric] for metrics in tasks.values() if not math.isnan(metrics.get(metric, _NAN))]
        flat[f"mean/{metric}"] = math.fsum(values) / len(values) if values else _NAN
    return flat


def _measure(
    names: Sequence[Metric],
    functions: Mapping[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]],
    predictions: Tensor,
    targets: Tensor,
) -> dict[str, float]:
    """The metrics whose precondition the data meets; NaN for the others."""
    measurable = len(targets) > 0 and bool(predictions.isfinite().all())
    values: dict[str, float] = {}
    for name in names:
        defined, function = functions[name]
        values[name] = float(function(predictions, targets)) if measurable and defined else _NAN
    return values
