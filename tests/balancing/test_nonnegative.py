import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing import nonnegative
from distmtl.balancing.nonnegative import nonnegative_minima
from distmtl.balancing.submatrix import Matrix, solve_present
from tests.balancing.gramians import gradients, view


def conditions_hold(quadratic: Matrix, linear: Matrix, found: Matrix) -> None:
    slack = found @ quadratic - linear
    size = np.abs(found) @ np.abs(quadratic) + np.abs(linear)
    assert (found >= 0.0).all()
    assert (slack >= -1e-9 * size.max(axis=1, keepdims=True)).all()
    assert (np.abs(found * slack) <= 1e-9 * (found.max(axis=1) * size.max(axis=1))[:, None]).all()


@given(
    tasks=st.integers(1, 30),
    size=st.integers(1, 40),
    ridge=st.sampled_from([1e-2, 1e-6, 1e-12]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=50, deadline=None)
def test_minima_obey_their_conditions(tasks: int, size: int, ridge: float, seed: int) -> None:
    rows = gradients(seed, tasks, decades=0.0, size=size)
    quadratic = rows @ rows.T + ridge * np.eye(tasks)
    generator = np.random.default_rng(seed)
    linear = generator.standard_normal((3, tasks)) * 10.0 ** generator.uniform(-3.0, 3.0, tasks)
    conditions_hold(quadratic, linear, nonnegative_minima(quadratic, linear))


@pytest.mark.parametrize("seed", range(20))
def test_either_method_alone_finds_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gradients(seed, 20, decades=0.0, size=15)
    quadratic = rows @ rows.T + 1e-3 * np.eye(20)
    linear = np.random.default_rng(seed).standard_normal((5, 20))
    both = nonnegative_minima(quadratic, linear)
    monkeypatch.setattr(nonnegative, "BLOCK_ROUNDS", 0)
    np.testing.assert_allclose(nonnegative_minima(quadratic, linear), both, atol=1e-9)


def test_nothing_is_solved_where_no_task_is_present() -> None:
    def solve(gramian: Matrix) -> Matrix:
        raise AssertionError(gramian.shape)

    assert solve_present(view(np.eye(3), [False] * 3), solve).tolist() == [0.0, 0.0, 0.0]


def test_what_is_solved_comes_to_its_places() -> None:
    found = solve_present(view(np.diag([1.0, 2.0, 3.0]), [True, False, True]), np.diag)
    assert found.tolist() == [1.0, 0.0, 9.0]
