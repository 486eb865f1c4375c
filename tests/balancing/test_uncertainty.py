import numpy as np
import torch

from distmtl.balancing.base import StepView
from distmtl.balancing.uncertainty import Uncertainty


def view(losses: list[float], present: list[bool] | None = None) -> StepView:
    known = np.array(losses)
    return StepView(0, np.isfinite(known) if present is None else np.array(present), known, None)


def test_it_follows_adam_on_the_papers_objective() -> None:
    losses = np.random.default_rng(0).uniform(0.1, 5.0, (50, 3))
    balancer = Uncertainty(lr=0.03, initial=0.2)
    state = balancer.init(3)
    s = torch.full((3,), 0.2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.03)
    for row in losses:
        weights, state = balancer.weights(view(row.tolist()), state)
        np.testing.assert_allclose(weights, (0.5 * torch.exp(-s)).detach().numpy(), rtol=1e-12)
        adam.zero_grad()
        (0.5 * torch.exp(-s) * torch.from_numpy(row) + 0.5 * s).sum().backward()
        adam.step()
    np.testing.assert_allclose(state["s"], s.detach().numpy(), rtol=1e-12)


def test_the_log_variances_tend_to_the_log_of_the_losses() -> None:
    balancer = Uncertainty(lr=0.02)
    state = balancer.init(2)
    for _ in range(2000):
        _, state = balancer.weights(view([4.0, 0.25]), state)
    np.testing.assert_allclose(np.exp(state["s"]), [4.0, 0.25], rtol=1e-2)


def test_a_task_learns_as_if_the_steps_without_it_had_not_been() -> None:
    balancer = Uncertainty(lr=0.1)
    state, alone = balancer.init(2), balancer.init(1)
    for step, loss in enumerate([2.0, 3.0, 0.5, 1.0]):
        absent = step % 2 == 1
        _, state = balancer.weights(view([loss, np.nan if absent else loss]), state)
        if not absent:
            _, alone = balancer.weights(view([loss]), alone)
    assert state["s"][1] == alone["s"][0]
    assert state["adam"]["updates"].tolist() == [4, 2]


def test_a_loss_that_is_not_finite_spoils_nothing() -> None:
    balancer = Uncertainty()
    before = balancer.init(2)
    _, after = balancer.weights(view([np.inf, 1.0], present=[True, True]), before)
    assert after["s"][0] == before["s"][0]
    assert np.isfinite(after["s"]).all()
