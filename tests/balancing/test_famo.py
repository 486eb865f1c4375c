import copy

import numpy as np
import torch
from hypothesis import given, settings

from distmtl.balancing.famo import GAP, Famo
from tests.balancing.laws import equal, restored
from tests.balancing.loss_family import masked_losses, view


def trajectory(steps: int, tasks: int) -> list[tuple[list[float], list[float]]]:
    """Losses before and after each of some updates."""
    random = np.random.default_rng(3)
    before = 10.0 ** random.uniform(-3, 3, (steps, tasks))
    return list(zip(before.tolist(), (before * random.uniform(0.5, 1.2, (steps, tasks))).tolist(), strict=True))


def test_it_follows_the_papers_algorithm() -> None:
    xi = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([xi], lr=0.025, weight_decay=1e-3)
    balancer = Famo()
    state = balancer.init(4)
    for step, (old, new) in enumerate(trajectory(50, 4)):
        here = view(old, step=step)
        weights, state = balancer.weights(here, state)

        losses = torch.tensor(old, dtype=torch.float64, requires_grad=True)
        z = torch.softmax(xi, dim=0)
        c = 1.0 / (z / (losses + GAP)).sum()
        (expected,) = torch.autograd.grad(c.detach() * (z.detach() * (losses + GAP).log()).sum(), losses)
        np.testing.assert_allclose(weights, expected.numpy(), rtol=1e-10)

        delta = (losses + GAP).log() - (torch.tensor(new, dtype=torch.float64) + GAP).log()
        (xi.grad,) = torch.autograd.grad(z, xi, grad_outputs=delta.detach())
        adam.step()
        state = balancer.after(here, np.array(new), state)
        np.testing.assert_allclose(state["xi"], xi.detach().numpy(), rtol=1e-10)


@given(case=masked_losses())
@settings(deadline=None)
def test_weights_sum_to_one(case: tuple[list[float], list[bool]]) -> None:
    losses, present = case
    weights, _ = Famo().weights(view(losses, present), Famo().init(len(losses)))
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)


def test_who_gains_most_loses_weight() -> None:
    balancer = Famo()
    state = balancer.init(2)
    for _ in range(20):
        state = balancer.after(view([1.0, 1.0]), np.array([0.5, 0.9]), state)
    assert state["xi"][0] < state["xi"][1]


def test_the_floor_is_where_losses_are_measured_from() -> None:
    shifted, _ = Famo(floor=-3.0).weights(view([-2.0, 1.0]), Famo().init(2))
    plain, _ = Famo().weights(view([1.0, 4.0]), Famo().init(2))
    np.testing.assert_allclose(shifted, plain, rtol=1e-12)


def test_a_task_learns_as_if_the_steps_without_it_had_not_been() -> None:
    balancer = Famo(weight_decay=0.0)
    state = balancer.init(3)
    state = balancer.after(view([1.0, 2.0, np.nan]), np.array([0.5, 2.5, np.nan]), state)
    two = balancer.after(view([1.0, 2.0]), np.array([0.5, 2.5]), balancer.init(2))
    assert state["xi"].tolist() == [*two["xi"].tolist(), 0.0]
    assert state["adam"]["updates"].tolist() == [1, 1, 0]


def test_a_task_alone_in_a_step_learns_nothing() -> None:
    state = Famo().after(view([2.0]), np.array([1.0]), Famo().init(1))
    assert state["xi"].tolist() == [0.0]


def test_losses_that_are_not_finite_or_below_the_floor_spoil_nothing() -> None:
    balancer = Famo()
    here = view([5.0, np.inf, 0.0, 2.0], present=[True] * 4)
    after = balancer.after(here, np.array([np.nan, 1.0, -1.0, 1.0]), balancer.init(4))
    assert after["adam"]["updates"].tolist() == [0, 0, 1, 1]
    pair = balancer.after(view([0.0, 2.0]), np.array([0.0, 1.0]), balancer.init(2))
    assert after["xi"].tolist() == [0.0, 0.0, *pair["xi"].tolist()]


def test_after_is_pure_and_resumes() -> None:
    balancer = Famo()
    state = whole = balancer.init(3)
    for step, (old, new) in enumerate(trajectory(10, 3)):
        here = view(old, step=step)
        kept = copy.deepcopy(state)
        following = balancer.after(here, np.array(new), state)
        assert equal(state, kept)
        assert equal(here.losses, np.array(old))
        whole = balancer.after(here, np.array(new), restored(whole))
        assert equal(following, whole)
        state = following
