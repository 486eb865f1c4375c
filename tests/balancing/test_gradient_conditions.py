"""Each balancer of gradients against the condition that defines its update."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.aligned_mtl import AlignedMtl, Scale, alignment
from distmtl.balancing.cagrad import CaGrad
from distmtl.balancing.config import ConFig
from distmtl.balancing.cosines import norms_and_cosines
from distmtl.balancing.dual_cone import RidgeOf, project_on_dual_cone, regularised
from distmtl.balancing.dualproj import DualProj
from distmtl.balancing.fairgrad import FairGrad
from distmtl.balancing.imtl_g import ImtlG
from distmtl.balancing.nash_mtl import NashMtl
from distmtl.balancing.newton import RIDGE, power_weights
from distmtl.balancing.submatrix import Matrix
from distmtl.balancing.upgrad import UpGrad
from tests.balancing.gramians import gradients, hard, independent, lengths

EACH_RIDGE = pytest.mark.parametrize(("ridge", "ridge_of"), [(1e-4, "trace"), (1e-8, "trace"), (1e-8, "each")])


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
@given(rows=independent())
@settings(max_examples=30, deadline=None)
def test_fairgrad_gains_are_a_power_of_the_weights(alpha: float, rows: Matrix) -> None:
    gramian = rows @ rows.T
    weights = FairGrad(alpha).solve(gramian)
    assert (weights > 0.0).all()
    ridged = gramian + RIDGE * np.diag(np.diag(gramian))
    gains = weights ** (-1.0 / alpha)
    size = np.abs(ridged) @ weights  # of what adds up to a gain
    assert (np.abs(ridged @ weights - gains) <= 1e-9 * gains + 1e-13 * size).all()


@given(rows=independent())
@settings(max_examples=30, deadline=None)
def test_nash_gains_are_inverse_to_the_weights(rows: Matrix) -> None:
    gramian = rows @ rows.T
    solution = power_weights(gramian, 1.0)
    ridged = gramian + RIDGE * np.diag(np.diag(gramian))
    np.testing.assert_allclose(solution * (ridged @ solution), 1.0, rtol=1e-9)
    assert NashMtl().residual(gramian, solution) <= 1e-5
    np.testing.assert_array_equal(NashMtl(max_norm=0.0).solve(gramian), solution)


@pytest.mark.parametrize(("max_norm", "expected"), [(0.0, 2.0), (0.75, 0.75), (3.0, 2.0)])
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_nash_updates_are_no_longer_than_max_norm(unit: float, max_norm: float, expected: float) -> None:
    rows = gradients(0, 4, decades=1.0) * unit
    weights = NashMtl(max_norm).solve(rows @ rows.T)
    assert np.linalg.norm(weights @ rows) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("longer", [1.0, 1e3])
def test_opposed_gradients_have_bounded_weights_and_a_residual_that_tells(longer: float) -> None:
    rows = np.array([[1.0, 2.0], [-longer, -2.0 * longer]])
    gramian = rows @ rows.T
    for weights, residual in [
        (power_weights(gramian, 1.0), NashMtl().residual(gramian, power_weights(gramian, 1.0))),
        (FairGrad(1.0).solve(gramian), FairGrad(1.0).residual(gramian, FairGrad(1.0).solve(gramian))),
    ]:
        assert (weights * lengths(rows) <= 1.001 * RIDGE**-0.5).all()
        assert residual == pytest.approx(1.0, abs=1e-3)


@given(rows=independent(), c=st.floats(0.05, 2.0))
@settings(max_examples=30, deadline=None)
def test_cagrad_minimises_the_papers_objective(rows: Matrix, c: float) -> None:
    gramian = rows @ rows.T
    tasks = len(rows)
    weights = CaGrad(c).solve(gramian)
    y = weights - 1.0 / tasks
    mean = rows.mean(axis=0)
    radius = c * np.linalg.norm(mean)
    np.testing.assert_allclose(np.linalg.norm(y @ rows), radius, rtol=1e-7)

    def objective(w: Matrix) -> Matrix:
        return w @ rows @ mean + radius * np.linalg.norm(w @ rows, axis=-1)

    best = objective(y / y.sum())
    generator = np.random.default_rng(0)
    others = generator.dirichlet(np.ones(tasks), 200)
    near = 0.99 * y / y.sum() + 0.01 * np.concatenate([others, np.eye(tasks)])
    size = np.linalg.norm(mean) * np.linalg.norm(y @ rows) / y.sum()
    assert best <= objective(np.concatenate([others, near])).min() + 1e-9 * size


@pytest.mark.parametrize(("gradients", "tolerance"), [(independent(), 1e-7), (hard(), 1e-4)])
@given(data=st.data(), c=st.sampled_from([0.0, 0.1, 0.4, 1.0, 3.0]), rescale=st.booleans())
@settings(max_examples=30, deadline=None)
def test_cagrad_obeys_its_conditions(
    gradients: st.SearchStrategy[Matrix], tolerance: float, data: st.DataObject, c: float, rescale: bool
) -> None:
    rows = data.draw(gradients)
    gramian = rows @ rows.T
    balancer = CaGrad(c, rescale=rescale)
    weights = balancer.solve(gramian)
    assert (weights * (1.0 + c**2 if rescale else 1.0) >= (1.0 - 1e-12) / len(rows)).all()
    assert balancer.residual(gramian, weights) <= tolerance


def test_cagrad_residual_rises_with_wrong_weights() -> None:
    gramian = gradients(1, 5, decades=1.0) @ gradients(1, 5, decades=1.0).T
    weights = CaGrad().solve(gramian)
    assert CaGrad().residual(gramian, weights) < 1e-9
    assert CaGrad().residual(gramian, weights * np.array([1.1, 1.0, 1.0, 1.0, 1.0])) > 1e-3


def test_cagrad_helps_the_worst_task_where_the_mean_hurts_it() -> None:
    rows = np.array([[1.0, 0.0], [-2.0, 1.0]])
    helped = rows @ (CaGrad(0.9).solve(rows @ rows.T) @ rows)
    assert (rows @ rows.mean(axis=0)).min() < 0.0 < helped.min()


@EACH_RIDGE
@given(rows=st.one_of(independent(), hard()), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_projections_obey_their_conditions(ridge: float, ridge_of: RidgeOf, rows: Matrix, seed: int) -> None:
    tasks = len(rows)
    regular = regularised(rows @ rows.T, ridge, ridge_of)
    wanted = np.random.default_rng(seed).uniform(0.0, 1.0, (3, tasks))
    found = project_on_dual_cone(regular, wanted)
    norms = np.sqrt(np.diag(regular))
    gains = found @ regular
    assert (found >= wanted).all()
    assert (gains >= -1e-9 * norms * (found @ norms)[:, None]).all()
    assert (np.abs((found - wanted) * gains) <= 1e-9 * np.square(found @ norms)[:, None]).all()


@EACH_RIDGE
@pytest.mark.parametrize("balancer", [UpGrad, DualProj])
@given(rows=st.one_of(independent(), hard()))
@settings(max_examples=30, deadline=None)
def test_projections_conflict_no_more_than_the_ridge_allows(
    balancer: type[UpGrad | DualProj], ridge: float, ridge_of: RidgeOf, rows: Matrix
) -> None:
    gramian = rows @ rows.T
    weights = balancer(ridge, ridge_of).solve(gramian)
    allowed = ridge * (np.trace(gramian) if ridge_of == "trace" else np.diag(gramian)) * weights
    rounding = 1e-10 * lengths(rows) * (weights @ lengths(rows))
    assert (gramian @ weights >= -allowed - rounding).all()
    assert (weights >= 1.0 / len(rows) - 1e-12).all()


@pytest.mark.parametrize("balancer", [UpGrad(), DualProj()])
def test_gradients_that_agree_are_averaged(balancer: UpGrad | DualProj) -> None:
    rows = np.abs(gradients(0, 5))
    np.testing.assert_allclose(balancer.solve(rows @ rows.T), 0.2, rtol=1e-12)
    assert balancer.residual(rows @ rows.T, np.full(5, 0.2)) == 0.0


def test_a_conflict_that_is_left_is_the_residual() -> None:
    rows = np.array([[1.0, 0.0], [-0.6, 0.8]])
    assert UpGrad().residual(rows @ rows.T, np.array([1.0, 0.0])) == pytest.approx(0.6)


def test_short_gradients_are_protected_by_a_ridge_of_each() -> None:
    rows = np.array([[1000.0, 0.0], [-0.6, 0.8]])
    gramian = rows @ rows.T
    assert UpGrad().residual(gramian, UpGrad().solve(gramian)) > 0.1
    protected = UpGrad(1e-6, "each")
    assert protected.residual(gramian, protected.solve(gramian)) < 1e-5


@given(rows=independent())
@settings(max_examples=30, deadline=None)
def test_imtl_g_has_equal_projections(rows: Matrix) -> None:
    weights = ImtlG().solve(rows @ rows.T)
    assert weights.sum() == pytest.approx(1.0, abs=1e-9 * np.abs(weights).sum())
    projections = rows @ (weights @ rows) / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(projections, projections.mean(), rtol=1e-9, atol=1e-9 * np.abs(weights) @ lengths(rows))


@given(rows=independent())
@settings(max_examples=30, deadline=None)
def test_config_has_equal_cosines_and_the_length_of_the_sum_along_it(rows: Matrix) -> None:
    update = ConFig().solve(rows @ rows.T) @ rows
    length = np.linalg.norm(update)
    cosines = rows @ update / np.linalg.norm(rows, axis=1) / length
    np.testing.assert_allclose(cosines, cosines.mean(), rtol=1e-9)
    assert cosines.mean() > 0.0
    assert length == pytest.approx(rows.sum(axis=0) @ update / length)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
@given(rows=st.one_of(independent(), hard()))
@settings(max_examples=30, deadline=None)
def test_aligned_gradients_have_the_condition_number_one(scale: Scale, rows: Matrix) -> None:
    gramian = rows @ rows.T
    matrix = alignment(gramian, scale)
    np.testing.assert_array_equal(AlignedMtl(scale).solve(gramian), matrix.mean(axis=0))
    aligned = np.linalg.svd(matrix @ rows, compute_uv=False)
    relative = aligned / aligned.max() if aligned.any() else aligned
    assert (np.minimum(relative, 1.0 - relative) <= 1e-6).all()  # each is zero or as long as the longest


@pytest.mark.parametrize(("scale", "length"), [("min", 1.0), ("median", 2.0), ("rmse", np.sqrt(7.5))])
def test_aligned_gradients_have_the_length_asked_for(scale: Scale, length: float) -> None:
    rows = np.diag([3.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(alignment(rows @ rows.T, scale) @ rows, length * np.eye(4), atol=1e-12)


@given(rows=hard())
@settings(max_examples=30, deadline=None)
def test_cosines_are_those_of_the_gradients(rows: Matrix) -> None:
    norms, cosines = norms_and_cosines(rows @ rows.T)
    np.testing.assert_allclose(norms, np.linalg.norm(rows, axis=1), rtol=1e-12)
    units = np.divide(rows, norms[:, None], out=np.zeros_like(rows), where=norms[:, None] > 0.0)
    np.testing.assert_allclose(cosines, units @ units.T, atol=1e-12)
