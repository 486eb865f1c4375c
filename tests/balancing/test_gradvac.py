import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.gradvac import GradVac, vaccinate
from distmtl.balancing.pcgrad import visiting_orders
from distmtl.balancing.submatrix import Matrix
from tests.balancing.gramians import gradients, independent, view


@given(rows=independent(largest=6), seed=st.integers(0, 99), beta=st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_it_is_the_papers_loop_over_vectors(rows: Matrix, seed: int, beta: float) -> None:
    orders = visiting_orders(view(rows, seed=seed))
    means = np.random.default_rng(seed).uniform(-0.9, 0.9, (len(rows), len(rows)))
    expected, total = means.copy(), np.zeros(rows.shape[1])
    for i, order in enumerate(orders):
        gradient = rows[i].copy()
        for j in order:
            if i == j:
                continue
            length, other = np.linalg.norm(gradient), np.linalg.norm(rows[j])
            cosine, target = gradient @ rows[j] / length / other, means[i, j]
            if cosine < target:
                sine, target_sine = np.sqrt(1.0 - cosine**2), np.sqrt(1.0 - target**2)
                gradient += length * (target * sine - cosine * target_sine) / (other * target_sine) * rows[j]
            expected[i, j] = (1.0 - beta) * target + beta * cosine
        total += gradient
    weights, found = vaccinate(rows @ rows.T, means, orders, beta)
    np.testing.assert_allclose(weights @ rows, total, atol=1e-7 * weights @ np.linalg.norm(rows, axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("target", [-0.5, 0.0, 0.7])
def test_the_cosine_becomes_its_usual_one(target: float) -> None:
    rows = np.array([[3.0, 0.0], [-0.8, 0.6]])
    means = np.array([[0.0, target], [-1.0, 0.0]])
    weights, _ = vaccinate(rows @ rows.T, means, np.array([[0, 1], [0, 1]]), 0.5)
    changed = weights @ rows - rows[1]  # the second gradient needs nothing
    assert changed @ rows[1] / np.linalg.norm(changed) == pytest.approx(target)


def test_the_means_start_at_zero_and_follow_the_cosines() -> None:
    rows = np.array([[1.0, 0.0], [0.6, 0.8]])
    balancer = GradVac(beta=0.25)
    state = balancer.init(2)
    for count in range(1, 4):
        weights, state = balancer.weights(view(rows, step=count), state)
        assert weights.tolist() == [1.0, 1.0]
        assert state["phi"][0, 1] == pytest.approx(0.6 * (1.0 - 0.75**count))
    assert np.diag(state["phi"]).tolist() == [0.0, 0.0]


def test_pairs_without_a_gradient_keep_their_mean() -> None:
    rows = gradients(0, 3, decades=0.0)
    balancer = GradVac()
    _, state = balancer.weights(view(rows), balancer.init(3))
    _, absent = balancer.weights(view(rows, [True, False, True], step=1), state)
    _, zero = balancer.weights(view(rows * np.array([[1.0], [0.0], [1.0]]), step=1), state)
    for after in (absent["phi"], zero["phi"]):
        assert after[1].tolist() == state["phi"][1].tolist()
        assert after[:, 1].tolist() == state["phi"][:, 1].tolist()
        assert after[0, 2] != state["phi"][0, 2]


def test_a_mean_of_one_asks_for_a_bounded_amount() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    weights, _ = vaccinate(rows @ rows.T, np.ones((2, 2)), np.array([[0, 1], [0, 1]]), 0.5)
    assert (weights < 1e5).all()
