import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.gradnorm import SMALLEST_WEIGHT, GradNorm
from tests.balancing.loss_family import masked_losses, view


def test_it_follows_the_papers_algorithm() -> None:
    random = np.random.default_rng(7)
    tasks, alpha, lr = 4, 1.5, 0.005
    w = torch.ones(tasks, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=lr)
    balancer = GradNorm(alpha=alpha, lr=lr)
    state = balancer.init(tasks)
    first = None
    for step in range(50):
        losses = torch.from_numpy(random.uniform(0.1, 5.0, tasks))
        gradients = torch.from_numpy(random.standard_normal((tasks, 9)) * 10.0 ** random.uniform(-2, 2, (tasks, 1)))
        here = view(losses.tolist(), step=step, norms=gradients.norm(dim=1).tolist())
        weights, state = balancer.weights(here, state)
        np.testing.assert_allclose(weights, w.detach().numpy(), rtol=1e-10)

        first = losses if first is None else first
        ratio = losses / first
        norms = (w[:, None] * gradients).norm(dim=1)
        target = (norms.mean() * (ratio / ratio.mean()) ** alpha).detach()
        adam.zero_grad()
        (norms - target).abs().sum().backward()
        adam.step()
        with torch.no_grad():
            w *= tasks / w.sum()
    assert np.ptp(state["w"]) > 0.05


def test_equal_learners_come_to_equal_weighted_norms() -> None:
    balancer = GradNorm(alpha=0.0, lr=0.01)
    state = balancer.init(2)
    for step in range(1500):
        weights, state = balancer.weights(view([1.0, 1.0], step=step, norms=[1.0, 3.0]), state)
    np.testing.assert_allclose(weights, [1.5, 0.5], atol=0.03)


def test_a_slow_learner_gets_more() -> None:
    balancer = GradNorm(lr=0.01)
    state = balancer.init(2)
    for step in range(100):
        _, state = balancer.weights(view([1.0, 0.98**step], step=step, norms=[1.0, 1.0]), state)
    assert state["w"][0] > 1.2


def test_the_loss_that_a_task_shows_first_is_kept() -> None:
    balancer = GradNorm()
    state = balancer.init(2)
    for step, losses in enumerate([[2.0, np.nan], [1.0, 5.0], [0.5, 4.0]]):
        _, state = balancer.weights(view(losses, step=step, norms=[1.0, 2.0]), state)
    assert state["first"].tolist() == [2.0, 5.0]


@given(case=masked_losses(), number=st.integers(0, 99), lr=st.sampled_from([0.025, 0.9]))
@settings(deadline=None)
def test_absent_tasks_keep_their_share(case: tuple[list[float], list[bool]], number: int, lr: float) -> None:
    losses, present = case
    random = np.random.default_rng(number)
    norms = (10.0 ** random.uniform(-3, 3, len(losses))).tolist()
    start = random.uniform(0.1, 2.0, len(losses))
    state = {**GradNorm().init(len(losses)), "w": start * len(losses) / start.sum()}
    for step in range(3):
        weights, following = GradNorm(lr=lr).weights(view(losses, present, step, norms), state)
        here = np.array(present)
        np.testing.assert_allclose(weights[here].sum(), here.sum(), rtol=1e-12)
        np.testing.assert_allclose(following["w"].sum(), len(losses), rtol=1e-12)
        assert (following["w"] > 0.0).all()
        np.testing.assert_allclose(weights[here] / weights[here][0], state["w"][here] / state["w"][here][0])
        state = following


def test_weights_stop_short_of_zero() -> None:
    balancer = GradNorm(alpha=0.0, lr=0.5)
    state = balancer.init(2)
    for step in range(30):
        weights, state = balancer.weights(view([1.0, 1.0], step=step, norms=[1.0, 1e6]), state)
        assert (weights >= SMALLEST_WEIGHT / 2).all()


def test_a_task_alone_has_weight_one_and_learns_nothing() -> None:
    state = {**GradNorm().init(2), "w": np.array([0.5, 1.5])}
    weights, following = GradNorm().weights(view([1.0, np.nan], norms=[3.0, 0.0]), state)
    assert weights.tolist() == [1.0, 0.0]
    assert following["w"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("norms", [[0.0, 1.0], [0.0, 0.0], [np.inf, 1.0], [np.nan, np.nan]])
def test_norms_of_zero_or_not_finite_spoil_nothing(norms: list[float]) -> None:
    balancer = GradNorm()
    state = balancer.init(2)
    for step in range(3):
        weights, state = balancer.weights(view([1.0, 2.0], step=step, norms=norms), state)
    assert np.isfinite(weights).all()
    assert np.isfinite(state["w"]).all()
