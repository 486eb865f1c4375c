import numpy as np
import torch

from distmtl.balancing.imtl_l import ImtlL
from tests.balancing.loss_family import view


def test_it_follows_adam_on_the_papers_objective() -> None:
    losses = np.random.default_rng(0).uniform(0.1, 5.0, (50, 3))
    balancer = ImtlL(lr=0.03)
    state = balancer.init(3)
    s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.03)
    for row in losses:
        weights, state = balancer.weights(view(row.tolist()), state)
        np.testing.assert_allclose(weights, s.exp().detach().numpy(), rtol=1e-12)
        adam.zero_grad()
        (s.exp() * torch.from_numpy(row) - s).sum().backward()
        adam.step()
    np.testing.assert_allclose(state["s"], s.detach().numpy(), rtol=1e-12)


def test_weighted_losses_tend_to_one() -> None:
    balancer = ImtlL(lr=0.02)
    state = balancer.init(2)
    for _ in range(2000):
        weights, state = balancer.weights(view([4.0, 0.25]), state)
    np.testing.assert_allclose(weights, [0.25, 4.0], rtol=1e-2)


def test_a_loss_of_zero_does_not_drive_its_weight_beyond_all_bounds() -> None:
    balancer = ImtlL(lr=1.0)
    state = balancer.init(1)
    for _ in range(2000):
        weights, state = balancer.weights(view([0.0]), state)
    np.testing.assert_allclose(weights, 1e8, rtol=0.1)


def test_a_task_learns_as_if_the_steps_without_it_had_not_been() -> None:
    balancer = ImtlL(lr=0.1)
    state, alone = balancer.init(2), balancer.init(1)
    for step, loss in enumerate([2.0, 3.0, 0.5, 1.0]):
        absent = step % 2 == 1
        _, state = balancer.weights(view([loss, np.nan if absent else loss]), state)
        if not absent:
            _, alone = balancer.weights(view([loss]), alone)
    assert state["s"][1] == alone["s"][0]
    assert state["adam"]["updates"].tolist() == [4, 2]
