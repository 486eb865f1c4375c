import numpy as np

from distmtl.balancing.stch import Stch
from tests.balancing.loss_family import view

NAN = float("nan")


def test_the_nadir_is_the_mean_over_the_warm_up() -> None:
    balancer = Stch(warmup_steps=2)
    state = balancer.init(2)
    for step, row in enumerate([[1.0, 4.0], [3.0, NAN], [1.0, 4.0], [9.0, 9.0]]):
        weights, state = balancer.weights(view(row, step=step), state)
    assert (state["sum"] / state["count"]).tolist() == [2.0, 4.0]
    # with mu = 1 the weights are n / (nadir x sum of L / nadir)
    np.testing.assert_allclose(weights, 2.0 / (np.array([2.0, 4.0]) * (4.5 + 2.25)), rtol=1e-12)


def test_a_task_without_a_label_in_the_warm_up_takes_its_first_loss() -> None:
    balancer = Stch(warmup_steps=1)
    state = balancer.init(2)
    for step, row in enumerate([[2.0, NAN], [2.0, 8.0], [2.0, 5.0]]):
        _, state = balancer.weights(view(row, step=step), state)
    assert (state["sum"] / state["count"]).tolist() == [2.0, 8.0]


def test_a_small_mu_leaves_the_worst_task_alone() -> None:
    balancer = Stch(mu=1e-3, warmup_steps=1)
    _, state = balancer.weights(view([1.0, 1.0]), balancer.init(2))
    weights, _ = balancer.weights(view([0.5, 0.6], step=1), state)
    np.testing.assert_allclose(weights, [0.0, 2.0 / 0.6], atol=1e-12)


def test_a_loss_of_zero_in_the_warm_up_leaves_the_weights_finite() -> None:
    balancer = Stch(mu=0.01, warmup_steps=1)
    _, state = balancer.weights(view([0.0, 1.0]), balancer.init(2))
    weights, _ = balancer.weights(view([1.0, 0.0], step=1), state)
    assert np.isfinite(weights).all()
