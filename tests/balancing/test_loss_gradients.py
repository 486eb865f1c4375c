"""Weights are the derivatives of the papers' objectives by the losses, as torch takes them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distmtl.balancing.base import Balancer, State
from distmtl.balancing.famo import Famo
from distmtl.balancing.gls import Gls
from distmtl.balancing.gls_log import GlsLog
from distmtl.balancing.imtl_l import ImtlL
from distmtl.balancing.stch import Stch
from distmtl.balancing.uncertainty import Uncertainty
from tests.balancing.loss_family import masked_losses, view

Objective = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""The combined loss of the present tasks' losses and their entries of the state."""


def famo(losses: Tensor, state: dict[str, Tensor]) -> Tensor:
    z = torch.softmax(state["xi"], dim=0)
    gaps = losses + 0.5 + 1e-8
    c = 1.0 / (z / gaps).sum()
    return c.detach() * (z * gaps.log()).sum()


def stch(losses: Tensor, state: dict[str, Tensor]) -> Tensor:
    nadir = state["sum"] / state["count"]
    return len(losses) * 0.3 * torch.logsumexp((losses / nadir).log() / 0.3, dim=0)


CASES: dict[str, tuple[Balancer, int, Objective]] = {
    "gls": (Gls(), 0, lambda losses, _: losses.log().mean().exp()),
    "gls_log": (GlsLog(), 0, lambda losses, _: losses.log().sum()),
    "imtl_l": (ImtlL(), 0, lambda losses, state: (state["s"].exp() * losses - state["s"]).sum()),
    "uncertainty": (
        Uncertainty(),
        0,
        lambda losses, state: (0.5 * torch.exp(-state["s"]) * losses + 0.5 * state["s"]).sum(),
    ),
    "famo": (Famo(floor=-0.5), 0, famo),
    "stch warming up": (Stch(mu=0.3, warmup_steps=9), 8, lambda losses, _: losses.log().sum()),
    "stch": (Stch(mu=0.3, warmup_steps=9), 9, stch),
}


@pytest.mark.parametrize(("balancer", "step", "objective"), CASES.values(), ids=CASES.keys())
@given(case=masked_losses(), number=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_weights_are_the_gradient(
    balancer: Balancer, step: int, objective: Objective, case: tuple[list[float], list[bool]], number: int
) -> None:
    losses, present = case
    state = _some_state(balancer, len(losses), number)
    weights, _ = balancer.weights(view(losses, present, step), state)

    here = np.array(present)
    leaf = torch.tensor(np.array(losses)[here], requires_grad=True)
    entries = {name: torch.from_numpy(value[here]) for name, value in state.items() if name != "adam"}
    (expected,) = torch.autograd.grad(objective(leaf, entries), leaf)
    np.testing.assert_allclose(weights[here], expected.numpy(), rtol=1e-12)
    assert (weights[~here] == 0.0).all() or isinstance(balancer, Uncertainty)


def _some_state(balancer: Balancer, tasks: int, number: int) -> State:
    random = np.random.default_rng(number)
    state = dict(balancer.init(tasks))
    for name in ("s", "xi"):
        if name in state:
            state[name] = random.standard_normal(tasks)
    if "sum" in state:
        state |= {"sum": random.uniform(0.1, 10.0, tasks), "count": random.integers(1, 9, tasks)}
    return state
