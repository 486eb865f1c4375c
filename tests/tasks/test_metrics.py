import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from distmtl.tasks.metrics import aggregate, better, binary_metrics, multiclass_metrics, regression_metrics
from distmtl.tasks.specs import METRICS

NAN = float("nan")


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    """Probabilities with ties and classes."""
    generator = np.random.default_rng(0)
    return np.round(generator.uniform(size=400), 2), generator.integers(0, 2, 400)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("auroc", reference.roc_auc_score),
        ("ap", reference.average_precision_score),
        ("accuracy", lambda t, p: reference.accuracy_score(t, p > 0.5)),
        ("f1", lambda t, p: reference.f1_score(t, p > 0.5)),
        ("mcc", lambda t, p: reference.matthews_corrcoef(t, p > 0.5)),
    ],
)
def test_binary_metrics_agree_with_scikit_learn(name: Any, function: Callable[..., float], rows: Any) -> None:
    predictions, targets = rows
    values = binary_metrics([name], torch.from_numpy(predictions), torch.from_numpy(targets).float())
    assert values == {name: pytest.approx(function(targets, predictions), abs=1e-6)}


def test_multiclass_metrics_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    predictions, targets = generator.integers(0, 4, 300), generator.integers(0, 4, 300)
    values = multiclass_metrics(METRICS["multiclass"], 6, torch.from_numpy(predictions), torch.from_numpy(targets))
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(targets, predictions))
    assert values["f1"] == pytest.approx(reference.f1_score(targets, predictions, average="macro"))


def test_regression_metrics_agree_with_scikit_learn_far_from_zero() -> None:
    generator = np.random.default_rng(2)
    targets = 1e6 + generator.standard_normal(500)
    predictions = targets + 0.1 * generator.standard_normal(500)
    values = regression_metrics(METRICS["regression"], torch.from_numpy(predictions), torch.from_numpy(targets))
    assert values["rmse"] == pytest.approx(reference.root_mean_squared_error(targets, predictions), rel=1e-9)
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(targets, predictions), rel=1e-9)
    assert values["r2"] == pytest.approx(reference.r2_score(targets, predictions), rel=1e-9)
    assert values["pearson"] == pytest.approx(np.corrcoef(targets, predictions)[0, 1], rel=1e-9)


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_one_class_leaves_curves_undefined(only: float) -> None:
    values = binary_metrics(METRICS["binary"], torch.tensor([0.2, 0.7]), torch.full((2,), only))
    assert math.isnan(values["auroc"])
    assert math.isnan(values["ap"])
    assert math.isnan(values["mcc"])
    assert values["accuracy"] == 0.5
    assert math.isnan(values["f1"]) == (only == 0.0)


def test_a_constant_target_leaves_r2_undefined() -> None:
    values = regression_metrics(METRICS["regression"], torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
    assert math.isnan(values["r2"])
    assert math.isnan(values["pearson"])
    assert (values["rmse"], values["mae"]) == (1.0, 1.0)


def test_a_constant_prediction_leaves_the_correlation_undefined() -> None:
    values = regression_metrics(METRICS["regression"], torch.tensor([1.0, 1.0]), torch.tensor([2.0, 3.0]))
    assert math.isnan(values["pearson"])
    assert math.isfinite(values["r2"])


def test_no_rows_leave_everything_undefined() -> None:
    none = torch.empty(0)
    for values in (
        binary_metrics(METRICS["binary"], none, none),
        multiclass_metrics(METRICS["multiclass"], 3, none.long(), none.long()),
        regression_metrics(METRICS["regression"], none, none),
    ):
        assert all(math.isnan(value) for value in values.values())


def test_predictions_that_are_not_finite_have_no_score() -> None:
    predictions, targets = torch.tensor([0.1, torch.nan, 0.9]), torch.tensor([0.0, 1.0, 1.0])
    assert all(math.isnan(value) for value in binary_metrics(METRICS["binary"], predictions, targets).values())
    assert all(math.isnan(value) for value in regression_metrics(METRICS["regression"], predictions, targets).values())


@given(st.sampled_from([1, 2, 3, 7]), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_metric_is_the_same_bits_from_any_number_of_workers(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.rand(101, generator=generator)
    targets = torch.randint(0, 2, (101,), generator=generator).float()
    gathered = torch.cat(predictions.tensor_split(size))
    for measure in (binary_metrics, regression_metrics):
        names = METRICS["binary" if measure is binary_metrics else "regression"]
        assert measure(names, gathered, targets) == measure(names, predictions, targets)


@pytest.mark.parametrize(
    ("metric", "a", "b", "expected"),
    [
        ("income/auroc", 0.9, 0.8, True),
        ("mean/auroc", 0.8, 0.8, False),
        ("hours/rmse", 10.0, 11.0, True),
        ("mean/mae", 11.0, 10.0, False),
        ("loss", 0.1, 0.2, True),
        ("r2", 0.1, NAN, True),
        ("r2", NAN, 0.1, False),
        ("loss", NAN, NAN, False),
    ],
)
def test_better(metric: str, a: float, b: float, expected: bool) -> None:
    assert better(metric, a, b) is expected


def test_means_are_over_the_tasks_that_have_the_metric() -> None:
    flat = aggregate({"a": {"auroc": 0.8, "ap": NAN}, "b": {"auroc": 0.9}, "c": {"auroc": NAN, "rmse": 2.0}})
    assert flat["a/auroc"] == 0.8
    assert math.isnan(flat["c/auroc"])
    assert flat["mean/auroc"] == pytest.approx(0.85)
    assert flat["mean/rmse"] == 2.0
    assert math.isnan(flat["mean/ap"])
