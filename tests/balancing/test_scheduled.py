from typing import Any

import numpy as np
import pytest

from distmtl.balancing.loss_specs import ScheduledSpec
from distmtl.balancing.scheduled import Scheduled
from distmtl.errors import ConfigError
from tests.balancing.loss_family import view

POINTS = [
    {"step": 10, "weights": {"a": 2.0, "b": 0.0}},
    {"step": 20, "weights": {"b": 1.0}},
    {"step": 40, "weights": {"a": 0.0}},
]


def at(step: int, points: list[dict[str, Any]]) -> list[float]:
    weights, _ = Scheduled(("a", "b", "c"), points).weights(view([1.0] * 3, step=step), {})
    return [float(weight) for weight in weights]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [2.0, 0.0, 1.0]),
        (10, [2.0, 0.0, 1.0]),
        (13, [2.0, 0.3, 1.0]),
        (20, [2.0, 1.0, 1.0]),
        (25, [1.5, 1.0, 1.0]),
        (40, [0.0, 1.0, 1.0]),
        (10**9, [0.0, 1.0, 1.0]),
    ],
)
def test_weights_go_in_straight_lines_and_unnamed_ones_stay(step: int, expected: list[float]) -> None:
    np.testing.assert_allclose(at(step, POINTS), expected, rtol=1e-12)


def test_it_takes_the_points_of_the_run_file() -> None:
    spec = ScheduledSpec.model_validate({"points": POINTS})
    weights, _ = Scheduled(("a", "b", "c"), spec.points).weights(view([1.0] * 3, step=25), {})
    assert weights.tolist() == at(25, POINTS)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], r"balancing.points: there is no point"),
        (
            [{"step": 0, "weights": {}}, {"step": 0, "weights": {"d": 1.0}}],
            r"balancing.points: step 0 comes after step 0. Order",
        ),
        ([{"step": 5, "weights": {}}, {"step": 3, "weights": {}}], r"step 3 comes after step 5"),
        ([{"step": 0, "weights": {"d": 1.0}}], r"balancing.points\[0\].weights: there is no task 'd'. The tasks are a"),
        ([{"step": 0, "weights": {}}, {"step": 1, "weights": {"a": -1.0}}], r"points\[1\].weights: .* finite number"),
        ([{"step": 0, "weights": {"a": float("nan")}}], r"Use a finite number of at least 0"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said(points: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Scheduled(("a", "b", "c"), points)
