import numpy as np
import pytest

from distmtl.balancing.dwa import Dwa
from distmtl.balancing.masked import LOSS_FLOOR
from tests.balancing.loss_family import view

NAN = float("nan")


def weights_of(rows: list[list[float]], every: int = 2, tau: float = 2.0) -> list[list[float]]:
    balancer = Dwa(every=every, tau=tau)
    state = balancer.init(len(rows[0]))
    found = []
    for step, row in enumerate(rows):
        weights, state = balancer.weights(view(row, step=step), state)
        found.append(weights.tolist())
    return found


def by_formula(ratios: list[float], tau: float = 2.0) -> list[float]:
    powers = np.exp(np.array(ratios) / tau)
    return list(len(ratios) * powers / powers.sum())


def test_the_weights_follow_the_ratio_of_the_last_two_windows() -> None:
    rows = [[4.0, 1.0], [2.0, 3.0], [1.0, 2.0], [2.0, 4.0], [8.0, 8.0], [8.0, 8.0], [1.0, 1.0]]
    found = weights_of(rows)
    assert found[:4] == [[1.0, 1.0]] * 4
    np.testing.assert_allclose(found[4:6], [by_formula([0.5, 1.5])] * 2, rtol=1e-12)
    np.testing.assert_allclose(found[6], by_formula([8 / 1.5, 8 / 3]), rtol=1e-12)


def test_a_window_without_a_label_leaves_the_ratio() -> None:
    ratio = [3.0, 1.0]  # of the first two windows of one step each
    rows = [[1.0, 1.0], [3.0, 1.0], [NAN, 1.0], [NAN, 1.0], [5.0, 1.0]]
    np.testing.assert_allclose(weights_of(rows, every=1)[4], by_formula(ratio), rtol=1e-12)


def test_a_window_without_a_finite_loss_leaves_the_ratio() -> None:
    balancer = Dwa(every=1)
    state = balancer.init(2)
    for step, loss in enumerate([1.0, 3.0, np.inf, 5.0]):
        weights, state = balancer.weights(view([loss, 1.0], [True, True], step), state)
    np.testing.assert_allclose(weights, by_formula([3.0, 1.0]), rtol=1e-12)


def test_weights_are_scaled_to_the_tasks_of_the_step() -> None:
    rows = [[1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, NAN, 1.0]]
    found = weights_of(rows, every=1)[2]
    np.testing.assert_allclose([found[0], found[2]], by_formula([2.0, 1.0]), rtol=1e-12)
    assert found[1] == 0.0


def test_a_task_that_comes_late_counts_as_steady() -> None:
    rows = [[1.0, NAN], [2.0, NAN], [2.0, 7.0]]
    np.testing.assert_allclose(weights_of(rows, every=1)[2], by_formula([2.0, 1.0]), rtol=1e-12)


def test_windows_follow_the_step_and_not_the_calls() -> None:
    # a step that fp16 skips leaves no state behind: the window still ends where it should
    balancer = Dwa(every=2)
    state = balancer.init(2)
    for step, row in [(0, [1.0, 1.0]), (3, [2.0, 1.0]), (4, [1.0, 1.0])]:
        weights, state = balancer.weights(view(row, step=step), state)
    np.testing.assert_allclose(weights, by_formula([2.0, 1.0]), rtol=1e-12)


@pytest.mark.parametrize("loss", [0.0, -1.0])
def test_a_window_of_no_loss_counts_as_the_floor(loss: float) -> None:
    found = weights_of([[loss, 1.0], [LOSS_FLOOR, 1.0], [1.0, 1.0]], every=1)
    np.testing.assert_allclose(found[2], [1.0, 1.0], rtol=1e-12)
    found = weights_of([[loss, 1.0], [1.0, 1.0], [1.0, 1.0]], every=1)
    np.testing.assert_allclose(found[2], [2.0, 0.0], atol=1e-12)
