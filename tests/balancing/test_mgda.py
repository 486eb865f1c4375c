import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.mgda import Mgda, minimum_norm
from distmtl.balancing.submatrix import Matrix
from tests.balancing.gramians import gradients, hard, independent, lengths, view


@given(rows=st.one_of(independent(), hard()))
@settings(max_examples=50, deadline=None)
def test_no_gradient_is_shorter_along_the_update_than_the_update(rows: Matrix) -> None:
    gramian = rows @ rows.T
    weights = minimum_norm(gramian)
    assert (weights >= 0.0).all()
    assert weights.sum() == pytest.approx(1.0)
    assert Mgda().residual(gramian, weights) <= 1e-10


@given(rows=independent())
@settings(max_examples=30, deadline=None)
def test_no_other_combination_is_shorter(rows: Matrix) -> None:
    best = minimum_norm(rows @ rows.T)
    others = np.random.default_rng(0).dirichlet(np.ones(len(rows)), 100)
    near = 0.99 * best + 0.01 * np.concatenate([others, np.eye(len(rows))])
    shortest = np.linalg.norm(np.concatenate([others, near]) @ rows, axis=1).min()
    assert np.linalg.norm(best @ rows) <= shortest * (1.0 + 1e-9)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]),
        ([[1.0, 0.0], [0.0, 3.0]], [0.9, 0.1]),
        ([[1.0, 0.0], [2.0, 1.0]], [1.0, 0.0]),
        ([[1.0, 1.0], [-1.0, -1.0]], [0.5, 0.5]),
        ([[2.0, 2.0], [-1.0, -1.0]], [1.0 / 3.0, 2.0 / 3.0]),
        ([[1.0, 1.0], [1.0, 1.0]], [0.5, 0.5]),
        ([[1.0, 1.0], [0.0, 0.0]], [0.0, 1.0]),
    ],
)
def test_two_gradients_are_solved_in_closed_form(rows: list[list[float]], expected: list[float]) -> None:
    np.testing.assert_allclose(minimum_norm(np.array(rows) @ np.array(rows).T), expected, atol=1e-11)


def test_the_normalised_gradients_decide_and_the_raw_ones_are_weighed() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 6.0]])
    losses = [4.0, 1.0]
    for normalise, scale in [("none", [1, 1]), ("l2", [2, 6]), ("loss", [4, 1]), ("loss+", [8, 6])]:
        weights, _ = Mgda(normalise=normalise).weights(view(rows, losses=losses), {})  # type: ignore[arg-type]
        divided = rows / np.array(scale)[:, None]
        np.testing.assert_allclose(weights, minimum_norm(divided @ divided.T), rtol=1e-9)


def test_losses_of_zero_or_below_spoil_nothing() -> None:
    rows = gradients(0, 4)
    for losses in ([0.0, 1.0, 2.0, 3.0], [-1.0, 1.0, 2.0, 3.0], [0.0] * 4):
        weights, _ = Mgda(normalise="loss").weights(view(rows, losses=losses), {})
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1.0)


def test_the_residual_tells_a_worse_point() -> None:
    rows = gradients(1, 6, decades=1.0)
    gramian = rows @ rows.T
    assert Mgda().residual(gramian, np.full(6, 1.0 / 6.0)) > 1e-2
    assert np.isnan(Mgda(normalise="loss").residual(gramian, np.full(6, 1.0 / 6.0)))
    weights, _ = Mgda(normalise="l2").weights(view(rows), {})
    assert Mgda(normalise="l2").residual(gramian, weights) <= 1e-10
    assert lengths(rows).min() > 0.0
