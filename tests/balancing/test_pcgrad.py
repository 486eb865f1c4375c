import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.pcgrad import project_conflicts, visiting_orders
from distmtl.balancing.submatrix import Matrix
from tests.balancing.gramians import gradients, hard, independent, view


@given(rows=st.one_of(independent(), hard()), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_it_is_the_papers_loop_over_vectors(rows: Matrix, seed: int) -> None:
    orders = visiting_orders(view(rows, seed=seed))
    total = np.zeros(rows.shape[1])
    for i, order in enumerate(orders):
        gradient = rows[i].copy()
        for j in order:
            product = gradient @ rows[j]
            if i != j and product < -1e-13 * np.linalg.norm(rows[i]) * np.linalg.norm(rows[j]):
                gradient -= product / (rows[j] @ rows[j]) * rows[j]
        total += gradient
    update = project_conflicts(rows @ rows.T, orders) @ rows
    np.testing.assert_allclose(update, total, atol=1e-9 * np.linalg.norm(rows, axis=1).sum())


@pytest.mark.parametrize("cosine", [-0.9, -0.5, 0.0, 0.5])
def test_two_gradients_in_closed_form(cosine: float) -> None:
    rows = np.array([[2.0, 0.0], [5.0 * cosine, 5.0 * np.sqrt(1.0 - cosine**2)]])
    weights = project_conflicts(rows @ rows.T, np.array([[0, 1], [1, 0]]))
    conflict = max(-cosine, 0.0)
    np.testing.assert_allclose(weights, [1.0 + conflict * 5.0 / 2.0, 1.0 + conflict * 2.0 / 5.0])


def test_orders_are_permutations_of_the_present_tasks() -> None:
    orders = visiting_orders(view(gradients(0, 5), [True, False, True, True, True], step=3))
    assert np.sort(orders, axis=1).tolist() == [[0, 1, 2, 3]] * 4
    many = np.concatenate([visiting_orders(view(gradients(0, 4), step=step)) for step in range(500)])
    counts = np.array([np.bincount(place, minlength=4) for place in many.T])
    assert (np.abs(counts - 500) < 100).all()
