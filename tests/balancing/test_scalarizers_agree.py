"""Our weights of losses against TorchJD's scalarizers, on the same losses."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torchjd.scalarization import DWA, FAMO, IMTLL, STCH, UW, GeometricMean, Random

from distmtl.balancing.base import Balancer, State
from distmtl.balancing.dwa import Dwa
from distmtl.balancing.famo import Famo
from distmtl.balancing.gls import Gls
from distmtl.balancing.imtl_l import ImtlL
from distmtl.balancing.rlw import Rlw
from distmtl.balancing.stch import Stch
from distmtl.balancing.uncertainty import Uncertainty
from tests.balancing.loss_family import view

TASKS = [1, 2, 7, 40]


def losses_of(steps: int, tasks: int) -> list[list[float]]:
    """Losses over six decades."""
    rows: list[list[float]] = (10.0 ** np.random.default_rng(tasks).uniform(-3.0, 3.0, (steps, tasks))).tolist()
    return rows


def gradient(scalarizer: torch.nn.Module, losses: list[float]) -> np.ndarray:
    """How the scalarizer weighs the losses: its derivative."""
    leaf = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
    (weights,) = torch.autograd.grad(scalarizer(leaf), leaf)
    return np.asarray(weights)


@pytest.mark.parametrize("tasks", TASKS)
def test_geometric_mean(tasks: int) -> None:
    for losses in losses_of(20, tasks):
        weights, _ = Gls().weights(view(losses), {})
        np.testing.assert_allclose(weights, gradient(GeometricMean(), losses), rtol=1e-10)


@pytest.mark.parametrize("tasks", TASKS)
def test_dwa_when_a_window_is_an_epoch(tasks: int) -> None:
    theirs, ours = DWA(temperature=2.0), Dwa(every=5, tau=2.0)
    state = ours.init(tasks)
    for step, losses in enumerate(losses_of(25, tasks)):
        if step % 5 == 0:
            theirs.step()
        weights, state = ours.weights(view(losses, step=step), state)
        np.testing.assert_allclose(weights, gradient(theirs, losses), rtol=1e-10)


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize(
    ("theirs", "ours", "learned"), [(IMTLL, ImtlL(lr=0.02), "log_scale"), (UW, Uncertainty(lr=0.02), "log_var")]
)
def test_learned_scales_under_adam(theirs: type, ours: Balancer, learned: str, tasks: int) -> None:
    scalarizer = theirs(tasks).double()
    adam = torch.optim.Adam(scalarizer.parameters(), lr=0.02)
    state = ours.init(tasks)
    for losses in losses_of(30, tasks):
        weights, state = ours.weights(view(losses), state)
        np.testing.assert_allclose(weights, gradient(scalarizer, losses), rtol=1e-10)
        adam.zero_grad()
        scalarizer(torch.tensor(losses, dtype=torch.float64)).backward()
        adam.step()
    np.testing.assert_allclose(state["s"], getattr(scalarizer, learned).detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("tasks", TASKS)
def test_famo(tasks: int) -> None:
    theirs, ours = FAMO(tasks).double(), Famo()
    state: State = ours.init(tasks)
    rows = losses_of(31, tasks)
    for losses, after in pairwise(rows):
        weights, _ = ours.weights(view(losses), state)
        np.testing.assert_allclose(weights, gradient(theirs, losses), rtol=1e-10)
        theirs.update(torch.tensor(after, dtype=torch.float64))
        state = ours.after(view(losses), np.array(after), state)


@pytest.mark.parametrize("tasks", TASKS)
def test_stch_of_log_ratios_with_unit_preferences(tasks: int) -> None:
    # theirs is the general form; ours is that of the paper's multi-task experiments: T times it, on log(L / nadir)
    ours = Stch(mu=0.4, warmup_steps=5)
    state = ours.init(tasks)
    rows = losses_of(20, tasks)
    nadir = torch.tensor(rows[:5], dtype=torch.float64).mean(dim=0)
    theirs = STCH(mu=0.4, weights=torch.ones(tasks, dtype=torch.float64))
    for step, losses in enumerate(rows):
        weights, state = ours.weights(view(losses, step=step), state)
        if step >= 5:
            leaf = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
            (expected,) = torch.autograd.grad(tasks * theirs((leaf / nadir).log()), leaf)
            np.testing.assert_allclose(weights, expected.numpy(), rtol=1e-10)


@pytest.mark.parametrize("tasks", TASKS)
def test_random_given_the_same_normal_numbers(tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for step, losses in enumerate(losses_of(5, tasks)):
        here = view(losses, step=step)

        def drawn(*_: object, number: int = step, **__: object) -> Tensor:
            return torch.from_numpy(view([1.0] * tasks, step=number).generator().standard_normal(tasks))

        monkeypatch.setattr(torch, "randn", drawn)
        weights, _ = Rlw().weights(here, {})
        np.testing.assert_allclose(weights, gradient(Random(), losses), rtol=1e-12)
