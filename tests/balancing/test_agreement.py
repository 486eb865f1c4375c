"""Our weights against TorchJD's on the same Gramians: T from 2 to 40, lengths over two and over six decades.

Weights are compared as strengths ``w_i |g_i|``: what each task gives to the update. Where TorchJD's own solver stops
short, both are held against the condition that defines the method. ``docs/exactness.md`` has the table.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from distmtl.balancing.aligned_mtl import AlignedMtl, Scale, alignment
from distmtl.balancing.cagrad import CaGrad
from distmtl.balancing.config import ConFig
from distmtl.balancing.dualproj import DualProj
from distmtl.balancing.fairgrad import FairGrad
from distmtl.balancing.gradvac import GradVac
from distmtl.balancing.imtl_g import ImtlG
from distmtl.balancing.mgda import Mgda, minimum_norm
from distmtl.balancing.nash_mtl import NashMtl
from distmtl.balancing.pcgrad import project_conflicts, visiting_orders
from distmtl.balancing.sdmgrad import SdmGrad
from distmtl.balancing.submatrix import Matrix
from distmtl.balancing.upgrad import UpGrad
from tests.balancing.gramians import gradients, lengths, view

theirs = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed")

GRAMIANS = 200
SPREADS = pytest.mark.parametrize("decades", [2, pytest.param(6, marks=pytest.mark.slow)])
SOLVERS = pytest.mark.filterwarnings("ignore")  # cvxpy and ECOS warn of inaccurate solutions


def cases(decades: int, count: int = GRAMIANS, largest: int = 40) -> Iterator[Matrix]:
    """Gradients of 2 to ``largest`` tasks, evenly."""
    for case in np.linspace(0, GRAMIANS - 1, count).astype(int).tolist():
        yield gradients(1000 * decades + case, 2 + case * (largest - 1) // GRAMIANS, decades=decades)


def differences(
    found: Callable[[Matrix, Matrix], tuple[Matrix, Matrix]], decades: int, count: int = GRAMIANS
) -> np.ndarray:
    """The largest difference in strength, over the largest strength, of each case: ``found`` gets J and G."""
    return np.array([difference(*found(rows, rows @ rows.T), rows) for rows in cases(decades, count)])


def difference(ours: Matrix, other: Matrix, rows: Matrix) -> float:
    return float((np.abs(ours - other) * lengths(rows)).max() / (np.abs(other) * lengths(rows)).max())


def call(weighting: torch.nn.Module, matrix: Matrix) -> Matrix:
    """TorchJD's weights, from float64 to float64."""
    weights: Matrix = weighting(torch.from_numpy(np.ascontiguousarray(matrix))).numpy()
    return weights


@SPREADS
@pytest.mark.parametrize(("ours", "name"), [(UpGrad, "UPGradWeighting"), (DualProj, "DualProjWeighting")])
@pytest.mark.parametrize("ridge", [1e-4, 1e-8])
def test_projections(ours: type[UpGrad | DualProj], name: str, ridge: float, decades: int) -> None:
    pytest.importorskip("quadprog")
    projector = pytest.importorskip("torchjd.linalg").QuadprogProjector(reg_eps=ridge)
    weighting = getattr(theirs, name)(projector=projector)
    assert differences(lambda _, g: (ours(ridge).solve(g), call(weighting, g)), decades).max() <= 1e-12


def test_projections_of_short_gradients() -> None:
    """TorchJD takes gradients for zero whose squares sum to less than 1e-4; here no unit of loss is special."""
    pytest.importorskip("quadprog")
    rows = 1e-3 * np.array([[1.0, 0.0], [-0.6, 0.8]])
    assert call(theirs.UPGradWeighting(), rows @ rows.T).tolist() == pytest.approx([0.5, 0.5])
    np.testing.assert_allclose(UpGrad().solve(rows @ rows.T), UpGrad().solve(1e6 * rows @ rows.T), rtol=1e-12)


@SPREADS
def test_pcgrad(decades: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(rows: Matrix, gramian: Matrix) -> tuple[Matrix, Matrix]:
        orders = visiting_orders(view(rows))
        draws = iter(torch.from_numpy(orders))
        monkeypatch.setattr(torch, "randperm", lambda _: next(draws))
        return project_conflicts(gramian, orders), call(theirs.PCGradWeighting(), gramian)

    assert differences(both, decades).max() <= 1e-12


@pytest.mark.parametrize(
    ("decades", "count"),
    [(2, 20), (6, 20), *(pytest.param(decades, GRAMIANS, marks=pytest.mark.slow) for decades in (2, 6))],
)
def test_gradvac(decades: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchJD without its ``eps`` of 1e-8, which is a length and so means more the shorter the gradients are."""

    def both(rows: Matrix, gramian: Matrix) -> tuple[Matrix, Matrix]:
        weighting, ours = theirs.GradVacWeighting(eps=0.0), GradVac()
        state = ours.init(len(rows))
        weights = other = np.zeros(len(rows))
        for step in range(3):
            seen = view(rows + 0.3 * np.roll(rows, step, axis=1), step=step)
            draws = iter([skipping(order, i) for i, order in enumerate(visiting_orders(seen))])
            monkeypatch.setattr(torch, "randperm", lambda _, draws=draws: next(draws))
            weights, state = ours.weights(seen, state)
            assert seen.gramian is not None
            other = call(weighting, seen.gramian)
        return weights, other

    assert differences(both, decades, count).max() <= 1e-9


def skipping(order: np.ndarray, task: int) -> Tensor:
    """An order of all tasks as one of the others, numbered without this task."""
    return torch.tensor([j - (j > task) for j in order.tolist() if j != task])


@SPREADS
def test_config(decades: int) -> None:
    for rows in cases(decades):
        update = call(theirs.ConFIG(), rows)
        ours = ConFig().solve(rows @ rows.T) @ rows
        np.testing.assert_allclose(ours, update, atol=1e-8 * np.linalg.norm(update))


@SPREADS
def test_imtl_g(decades: int) -> None:
    """Over six decades the pseudo-inverse of G loses digits that the cosines keep: see the projections."""
    found = differences(lambda _, g: (ImtlG().solve(g), call(theirs.IMTLGWeighting(), g)), decades)
    assert found.max() <= (1e-9 if decades == 2 else 1e-3)
    assert np.median(found) <= 1e-7

    def spread(weights: Matrix, rows: Matrix) -> float:
        projections = rows @ (weights @ rows) / np.linalg.norm(rows, axis=1)
        return float(np.ptp(projections) / np.abs(projections).mean())

    assert max(spread(ImtlG().solve(rows @ rows.T), rows) for rows in cases(decades)) <= 1e-11
    if decades == 6:
        assert max(spread(call(theirs.IMTLGWeighting(), rows @ rows.T), rows) for rows in cases(6)) >= 1e-6


@SPREADS
@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl(scale: Scale, decades: int) -> None:
    """Over six decades the eigenvalues of G lose digits that the singular values of its root keep."""
    weighting = theirs.AlignedMTLWeighting(scale_mode=scale)
    found = differences(lambda _, g: (AlignedMtl(scale).solve(g), call(weighting, g)), decades)
    assert found.max() <= (1e-10 if decades == 2 else 1e-2)
    assert np.median(found) <= 1e-6

    def excess(matrix: Matrix, rows: Matrix) -> float:
        aligned = np.linalg.svd(matrix @ rows, compute_uv=False)
        return float(aligned[0] / aligned[-1] - 1.0)

    assert max(excess(alignment(rows @ rows.T, scale), rows) for rows in cases(decades)) <= 1e-8
    if decades == 6:
        balance = weighting._compute_balance_transformation
        matrices = [balance(torch.from_numpy(rows @ rows.T), scale).numpy() for rows in cases(6)]
        assert max(excess(matrix, rows) for matrix, rows in zip(matrices, cases(6), strict=True)) >= 1e-6


@SPREADS
def test_mgda(decades: int) -> None:
    """TorchJD's Frank-Wolfe stops at a small step or after 100; the duality gap says how near it has come.

    ``|d - d*|^2`` is at most the gap, by the convexity of ``|d|^2 / 2``: ours lies where theirs says the minimum is.
    """
    for rows in cases(decades):
        gramian = rows @ rows.T
        ours, other = minimum_norm(gramian), call(theirs.MGDAWeighting(), gramian)
        gap = other @ gramian @ other - (gramian @ other).min()
        apart = (ours - other) @ rows
        assert apart @ apart <= gap * (1.0 + 1e-9) + 1e-20 * (other @ lengths(rows)) ** 2
        assert Mgda().residual(gramian, ours) <= min(1e-10, Mgda().residual(gramian, other) + 1e-12)


@pytest.mark.slow
def test_mgda_when_frank_wolfe_goes_on() -> None:
    """After 5000 steps it is near in the second digit."""
    for rows in cases(2, 10, largest=6):
        gramian = rows @ rows.T
        other = call(theirs.MGDAWeighting(epsilon=1e-12, max_iters=5000), gramian)
        assert difference(minimum_norm(gramian), other, rows) <= 3e-2


@SOLVERS
@SPREADS
def test_cagrad(decades: int) -> None:
    """CLARABEL stops near 1e-4 of the weights. ``norm_eps`` is set aside here: see the next test."""
    pytest.importorskip("cvxpy")
    weighting = theirs.CAGradWeighting(c=0.4, norm_eps=1e-12)
    found = differences(lambda _, g: (CaGrad(0.4).solve(g), call(weighting, g)), decades)
    assert found.max() <= (1e-3 if decades == 2 else 1e-2)
    assert np.median(found) <= 1e-3
    for rows in cases(decades):
        gramian = rows @ rows.T
        ours, other = (CaGrad(0.4).residual(gramian, w) for w in (CaGrad(0.4).solve(gramian), call(weighting, gramian)))
        assert ours <= min(1e-7, other + 1e-12)


@SOLVERS
def test_cagrad_of_gradients_over_decades() -> None:
    """TorchJD returns 0 where ``|g_w|`` is below 1e-4 of all lengths, and leaves the factor ``1 + c^2`` out."""
    pytest.importorskip("cvxpy")
    stopped = [not call(theirs.CAGradWeighting(c=0.4), rows @ rows.T).any() for rows in cases(6, 50)]
    assert np.mean(stopped) >= 0.5
    assert all((CaGrad(0.4).solve(rows @ rows.T) > 0.0).all() for rows in cases(6, 50))


@SOLVERS
@pytest.mark.parametrize("alpha", [pytest.param(1.0, marks=pytest.mark.slow), 2.0])
def test_fairgrad(alpha: float) -> None:
    """Our ridge of 1e-8 shows in the last digits."""
    pytest.importorskip("scipy")
    weighting = theirs.FairGradWeighting(alpha=alpha)
    assert differences(lambda _, g: (FairGrad(alpha).solve(g), call(weighting, g)), 2).max() <= 1e-6


@SOLVERS
@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_fairgrad_over_decades(alpha: float) -> None:
    """Least squares stop short there: where their condition holds, so does ours, and the weights agree."""
    pytest.importorskip("scipy")
    ours, weighting = FairGrad(alpha), theirs.FairGradWeighting(alpha=alpha)
    fulfilled = 0
    for rows in cases(6, largest=12):
        gramian = rows @ rows.T
        weights, other = ours.solve(gramian), call(weighting, gramian)
        assert ours.residual(gramian, weights) <= 1e-4
        if ours.residual(gramian, other) <= 1e-6:
            fulfilled += 1
            assert difference(weights, other, rows) <= 1e-4
    assert 0 < fulfilled < GRAMIANS


@SOLVERS
@pytest.mark.parametrize(
    ("decades", "count"),
    [(0, 20), (2, 20), *(pytest.param(decades, GRAMIANS, marks=pytest.mark.slow) for decades in (0, 2))],
)
def test_nash_mtl(decades: int, count: int) -> None:
    """The sequence of convex programs stops short in part: where their condition holds, the weights agree."""
    pytest.importorskip("cvxpy")
    pytest.importorskip("ecos")
    agreed = 0
    for rows in cases(decades, count, largest=30):
        gramian = rows @ rows.T
        weights = NashMtl(max_norm=0.0).solve(gramian)
        other = call(theirs.NashMTL(n_tasks=len(rows), max_norm=0.0).weighting, rows)
        assert NashMtl().residual(gramian, weights) <= 1e-6
        if NashMtl().residual(gramian, other) <= 1e-4:
            agreed += 1
            assert difference(weights, other, rows) <= 1e-3
    assert agreed >= 0.5 * count


@SOLVERS
def test_nash_mtl_bounds_the_update_as_torchjd_does() -> None:
    pytest.importorskip("cvxpy")
    pytest.importorskip("ecos")
    rows = gradients(5, 4, decades=1.0)
    other = call(theirs.NashMTL(n_tasks=4).weighting, rows)
    np.testing.assert_allclose(NashMtl().solve(rows @ rows.T), other, rtol=1e-4)


@SPREADS
@pytest.mark.parametrize(("lr", "share"), [(0.1, 1.0), pytest.param(10.0, 0.9, marks=pytest.mark.slow)])
def test_sdmgrad(lr: float, share: float, decades: int) -> None:
    """At the usual step length the descent swings, and now and then turns the last digit into another point.

    Gradients are long here, so that the 1e-8 that TorchJD adds to the square of their length is not seen.
    """

    def both(rows: Matrix, gramian: Matrix) -> tuple[Matrix, Matrix]:
        weighting, ours = theirs.SDMGradWeighting(lr=lr), SdmGrad(lr=lr)
        state = ours.init(len(rows))
        weights = other = np.zeros(len(rows))
        for step in range(3):
            seen = view(1e4 * (rows + 0.3 * np.roll(rows, step, axis=1)), step=step)
            weights, state = ours.weights(seen, state)
            assert seen.gramian is not None
            other = call(weighting, seen.gramian)
        return weights, other

    assert np.mean(differences(both, decades) <= 1e-9) >= share
