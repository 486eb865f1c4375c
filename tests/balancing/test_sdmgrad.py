import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.mgda import minimum_norm
from distmtl.balancing.sdmgrad import SdmGrad, project_on_simplex
from tests.balancing.gramians import gradients, view

POINTS = st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=12).map(np.array)


@given(point=POINTS)
@settings(max_examples=50, deadline=None)
def test_the_projection_is_the_nearest_point_of_the_simplex(point: np.ndarray) -> None:
    w = project_on_simplex(point)
    assert (w >= 0.0).all()
    assert w.sum() == pytest.approx(1.0)
    pull = (point - w)[w > 0.0]
    np.testing.assert_allclose(pull, pull.max(), atol=1e-9)
    assert (point - w <= pull.max() + 1e-9).all()


def test_without_a_pull_and_with_many_steps_it_is_mgda() -> None:
    rows = gradients(2, 5, decades=0.5)
    balancer = SdmGrad(pull=0.0, lr=0.5, momentum=0.0, iterations=3000)
    weights, _ = balancer.weights(view(rows), balancer.init(5))
    np.testing.assert_allclose(weights, minimum_norm(rows @ rows.T), atol=1e-6)
    assert balancer.residual(rows @ rows.T, weights) < 1e-7
    assert balancer.residual(rows @ rows.T, np.full(5, 0.2)) > 1e-3


def test_with_a_strong_pull_it_is_the_mean() -> None:
    rows = gradients(2, 5)
    balancer = SdmGrad(pull=1e6)
    weights, _ = balancer.weights(view(rows), balancer.init(5))
    np.testing.assert_allclose(weights, 0.2, atol=1e-5)


def test_the_weights_go_on_from_the_last_step() -> None:
    rows = gradients(4, 4, decades=0.5)
    balancer = SdmGrad(lr=0.05, momentum=0.0, iterations=1)
    state = balancer.init(4)
    residuals = []
    for step in range(200):
        weights, state = balancer.weights(view(rows, step=step), state)
        residuals.append(balancer.residual(rows @ rows.T, weights))
    assert residuals[-1] < 0.1 * residuals[0]


def test_present_tasks_keep_their_share() -> None:
    rows = gradients(1, 4, decades=0.5)
    balancer = SdmGrad()
    state = {"w": np.array([0.1, 0.2, 0.3, 0.4])}
    weights, after = balancer.weights(view(rows, [True, False, True, False]), state)
    assert after["w"][[1, 3]].tolist() == [0.2, 0.4]
    assert after["w"].sum() == pytest.approx(1.0)
    assert weights.sum() == pytest.approx(1.0)
    lost = {"w": np.array([0.0, 0.5, 0.0, 0.5])}
    weights, after = balancer.weights(view(rows, [True, False, True, False]), lost)
    assert weights.sum() == pytest.approx(1.0)
    assert after["w"].tolist() == [0.0, 0.5, 0.0, 0.5]
