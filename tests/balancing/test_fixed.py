import numpy as np
import pytest

from distmtl.balancing.base import StepView
from distmtl.balancing.fixed import Fixed
from distmtl.errors import ConfigError


def test_named_tasks_get_their_weight_and_others_one() -> None:
    view = StepView(0, np.array([True, True, False]), np.full(3, np.nan), None)
    weights, _ = Fixed({"b": 2.5}, ("a", "b", "c")).weights(view, {})
    assert weights.tolist() == [1.0, 2.5, 1.0]


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"balancing.weights: there is no task 'incme'. The tasks are income, married"
    ):
        Fixed({"incme": 1.0}, ("income", "married"))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        Fixed({"a": weight}, ("a",))
