"""Our updates against those of LibMTL's weighting classes, on the same gradients."""

import importlib.util
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from distmtl.balancing.cagrad import CaGrad
from distmtl.balancing.gradvac import GradVac
from distmtl.balancing.imtl_g import ImtlG
from distmtl.balancing.mgda import Mgda
from distmtl.balancing.pcgrad import project_conflicts, visiting_orders
from distmtl.balancing.submatrix import Matrix
from tests.balancing.gramians import gradients, view
from tests.balancing.libmtl import update, weighting_classes

pytestmark = pytest.mark.skipif(importlib.util.find_spec("LibMTL") is None, reason="LibMTL is not installed")

SPREADS = pytest.mark.parametrize("decades", [2, 6])


@pytest.fixture(scope="module")
def classes() -> Iterator[Any]:
    with weighting_classes() as package:
        yield package


def cases(decades: int, sizes: tuple[int, int] = (2, 40), count: int = 200) -> Iterator[Matrix]:
    for case in range(count):
        yield gradients(1000 * decades + case, int(np.linspace(*sizes, count)[case]), decades=decades)


def apart(ours: Matrix, other: Matrix) -> float:
    return float(np.linalg.norm(ours - other) / np.linalg.norm(other))


@SPREADS
def test_imtl_g(classes: Any, decades: int) -> None:
    """LibMTL inverts a matrix of gradient differences; it loses digits over six decades."""
    found = [apart(ImtlG().solve(rows @ rows.T) @ rows, update(classes.IMTL(), rows)) for rows in cases(decades)]
    assert np.max(found) <= (1e-8 if decades == 2 else 1e-2)
    assert np.median(found) <= 1e-6


@SPREADS
def test_pcgrad(classes: Any, decades: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LibMTL lets a gradient meet itself too; the paper's loop leaves that out, so here it comes first."""
    found = []
    for rows in cases(decades, count=50):
        orders = [[i, *(j for j in order if j != i)] for i, order in enumerate(visiting_orders(view(rows)).tolist())]
        deal(monkeypatch, orders)
        ours = project_conflicts(rows @ rows.T, np.array(orders)) @ rows
        found.append(apart(ours, update(classes.PCGrad(), rows)))
    assert np.max(found) <= 1e-10


def test_gradvac_in_its_first_step(classes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, LibMTL moves a mean cosine only where it was undercut, and the paper always."""
    for rows in cases(2, count=30):
        seen = view(rows)
        orders = visiting_orders(seen).tolist()
        deal(monkeypatch, [[j for j in order if j != i] for i, order in enumerate(orders)])
        weights, _ = GradVac().weights(seen, GradVac().init(len(rows)))
        assert apart(weights @ rows, update(classes.GradVac(), rows, beta=0.5)) <= 1e-9


@pytest.mark.parametrize(("rescale", "factor"), [(0, False), (1, True)])
def test_cagrad_of_three_tasks(classes: Any, rescale: int, factor: bool) -> None:
    """LibMTL 1.1.5 has the number 3 written into it, and SLSQP stops at 1e-6 of the objective."""
    for rows in cases(1, (3, 3), count=50):
        ours = CaGrad(0.4, rescale=factor).solve(rows @ rows.T) @ rows
        assert apart(ours, update(classes.CAGrad(), rows, calpha=0.4, rescale=rescale)) <= 2e-2


@pytest.mark.parametrize("normalise", ["none", "l2"])
def test_mgda_of_two_tasks(classes: Any, normalise: Any) -> None:
    """From three on, LibMTL stops at 1e-5 of the weights, or returns nothing after 250 steps.

    Where one gradient alone is the shortest, it keeps 0.001 of the other. And it sums the normalised gradients, where
    the authors' code, as ours, sums those as they are.
    """
    inside = 0
    for rows in cases(1, (2, 2), count=50):
        weights, _ = Mgda(normalise).weights(view(rows), {})
        divided = rows / np.linalg.norm(rows, axis=1)[:, None] if normalise == "l2" else rows
        other = update(classes.MGDA(), rows, mgda_gn=normalise)
        if weights.min() > 0.0:
            inside += 1
            assert apart(weights @ divided, other) <= 1e-9
        else:
            assert np.linalg.norm(weights @ divided - other) <= 0.001 * np.linalg.norm(divided[0] - divided[1]) + 1e-12
    assert inside >= 25


def deal(monkeypatch: pytest.MonkeyPatch, orders: list[list[int]]) -> None:
    """Let the next shuffles give these orders."""
    dealt = iter(orders)

    def shuffle(items: list[int]) -> None:
        items[:] = next(dealt)

    monkeypatch.setattr(random, "shuffle", shuffle)
