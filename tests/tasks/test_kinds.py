import math
from typing import Any

import pytest
import torch

from distmtl.errors import ConfigError
from distmtl.tasks.kinds import build_task
from distmtl.tasks.specs import METRICS, BceSpec, MseSpec, TaskSpec
from tests.tasks.labels import BINARY, LABELS, NUMBER, TEXT, task


def spec(kind: str, **values: Any) -> TaskSpec:
    return TaskSpec.model_validate({"source": "s", "target": "y", "kind": kind, **values})


def test_heads_are_as_wide_as_the_kind_needs() -> None:
    assert task("binary").outputs == 1
    assert task("multiclass").outputs == 3
    assert task("multiclass", classes=None, class_counts=(4, 4, 4, 4)).outputs == 4
    assert task("regression").outputs == 1


@pytest.mark.parametrize("kind", METRICS)
def test_by_default_all_metrics_of_the_kind_are_reported(kind: str) -> None:
    assert build_task("t", spec(kind), LABELS[kind]).metric_names == METRICS[kind]  # type: ignore[index]


def test_metrics_are_reported_in_the_order_asked_for() -> None:
    one = build_task("t", spec("binary", metrics=("f1", "auroc")), BINARY)
    values = one.metrics(torch.tensor([0.2, 0.9]), torch.tensor([0.0, 1.0]))
    assert list(values.items()) == [("f1", 1.0), ("auroc", 1.0)]


def test_labels_are_missing_where_nan_or_negative() -> None:
    assert task("binary").valid(torch.tensor([0.0, torch.nan, 1.0])).tolist() == [True, False, True]
    assert task("multiclass").valid(torch.tensor([2, -1, 0])).tolist() == [True, False, True]


def test_binary_predictions_are_probabilities_that_large_logits_do_not_tie() -> None:
    predictions = task("binary").predictions(torch.tensor([[0.0], [20.0], [21.0]]))
    assert predictions[0] == 0.5
    assert predictions[1] < predictions[2] < 1.0


def test_multiclass_predictions_are_classes() -> None:
    assert task("multiclass").predictions(torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]])).tolist() == [1, 0]


def test_regression_predictions_are_in_the_targets_unit() -> None:
    one = task("regression")
    assert one.predictions(torch.tensor([[0.0], [2.0]])).tolist() == [40.0, 65.0]
    values = one.metrics(one.predictions(torch.tensor([[0.0], [2.0]])), torch.tensor([40.0, 60.0]))
    assert values == pytest.approx({"rmse": math.sqrt(12.5), "mae": 2.5, "r2": 1 - 25 / 200, "pearson": 1.0})


def test_a_constant_target_is_not_divided_by_zero() -> None:
    one = task("regression", std=0.0)
    assert one.losses(torch.zeros(1, 1), torch.tensor([41.0])).tolist() == [1.0]


@pytest.mark.parametrize(
    ("kind", "label", "values", "message"),
    [
        (
            "binary",
            BINARY,
            {"loss": MseSpec()},
            r"tasks\.t\.loss: loss 'mse' does not fit a binary task. Use one of bce",
        ),
        ("regression", NUMBER, {"loss": BceSpec()}, "loss 'bce' does not fit a regression task"),
        ("regression", NUMBER, {"metrics": ("auroc",)}, r"tasks\.t\.metrics: metric 'auroc' does not fit"),
        ("regression", TEXT, {}, r"tasks\.t\.target: column 'y' holds text"),
        ("binary", TEXT, {}, "values other than two classes"),
        ("binary", NUMBER, {}, "values other than two classes"),
        ("multiclass", NUMBER, {}, "does not hold at least two classes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind: str, label: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_task("t", spec(kind, **values), label)
