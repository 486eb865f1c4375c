"""The rules of fp16's loss scale, in float64 on the CPU: it changes nothing, and what overflows leaves no trace."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distmtl.balancing.build import build_balancer, choose_route
from distmtl.parallel.fsdp import local
from distmtl.parallel.world import Solo, World
from distmtl.training.facts import exchange
from distmtl.training.loss_scale import LossScale
from distmtl.training.optim import optimizer_tensors, set_rate
from distmtl.training.step import TrainStep
from tests.balancing.every import EVERY_SPEC
from tests.checkpoint.states import same
from tests.processes import run_workers
from tests.training.problems import OPTIM, Problem, build_step, places, share
from tests.training.test_parity import STRATEGIES, TASKS, require_same

HARD = Problem(rows=(23, 9), missing=0.4, weighted=True, dropout=0.3, steps=4)
OVERFLOWS = 1
"""The step whose gradient of "price" is infinite on the last worker."""

SCALE = 2.0**10

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "loss": ("uncertainty", {}),
    "loss, looked at again": ("famo", {}),
    "exact": ("gradnorm", {}),
    "exact, gradients alone": ("upgrad", {}),
    "exact, element by element": ("graddrop", {}),
    "exact, with memories": ("moco", {}),
    "exact, with squares": ("excess_mtl", {}),
    "exact, kept": ("gradnorm", {"update_every": 3}),
    "sketch": ("gradnorm", {"route": "sketch", "sketch_size": 64}),
}


def _build(
    world: World, problem: Problem, kind: str, asking: dict[str, Any], scale: float = SCALE
) -> tuple[TrainStep, nn.Module]:
    balancer = build_balancer(EVERY_SPEC[kind], TASKS)
    chosen = replace(choose_route(EVERY_SPEC[kind], balancer, 2), **asking)
    step, model = build_step(replace(problem, asking=chosen), balancer, world)
    step.scaler = LossScale(world, enabled=scale > 0, initial=scale)
    return step, model


def _explode(_: nn.Module, __: Any, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient * float("inf"))


def _snapshot(step: TrainStep, model: nn.Module) -> dict[str, Any]:
    """Everything that a skipped step must leave alone, as this worker holds it."""
    return {
        "parameters": {name: local(value.detach()).clone() for name, value in model.state_dict().items()},
        "moments": {name: local(t).clone() for name, t in optimizer_tensors(step.optimizer, model).items()},
        "memories": {name: memory.clone() for name, memory in step.memories.items()},
        "state": step.balancer_state,
    }


def overflow(world: World, strategy: str) -> dict[str, list[Any]]:
    """For every case: whether each step was skipped, the scale after it, and whether the skipped one left traces."""
    found = {}
    for name, (kind, asking) in CASES.items():
        problem = replace(HARD, parallel=STRATEGIES[strategy])
        step, model = _build(world, problem, kind, asking)
        steps: list[Any] = []
        for index in range(problem.steps):
            batch = share(problem, index, world.rank, world.size)
            facts = exchange([batch], 1, places(), world, stop=False, next_steps=1).facts[0]
            set_rate(step.optimizer, OPTIM, index, problem.steps)
            before = _snapshot(step, model)
            odd = index == OVERFLOWS and world.rank == world.size - 1
            handle = model.private["price"].register_forward_hook(_explode) if odd else None  # type: ignore[operator, index]
            outcome = step(batch, facts)
            if handle is not None:
                handle.remove()
            steps.append((outcome.skipped, step.scaler.value, same(before, _snapshot(step, model))))
        found[name] = steps
    return found


EXPECTED = [(False, SCALE, False), (True, SCALE / 2, True), (False, SCALE / 2, False), (False, SCALE / 2, False)]


def test_one_process_skips_a_step_that_overflows() -> None:
    assert overflow(Solo(), "ddp") == dict.fromkeys(CASES, EXPECTED)


def overflow_everywhere(world: World, strategy: str) -> tuple[dict[str, list[Any]], tuple[bool, float, bool]]:
    """:func:`overflow`, and what comes of a gradient that is infinite in the last worker's numbers alone."""
    found = overflow(world, strategy)
    step, model = _build(world, replace(HARD, parallel=STRATEGIES[strategy]), "upgrad", {})
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    if world.rank == world.size - 1:
        for gradient in (parameter.grad for parameter in model.trunk.parameters()):  # type: ignore[union-attr]
            local(gradient).fill_(float("inf"))
    before = _snapshot(step, model)
    step.scaler.unscale(model.parameters())
    return found, (step.scaler.update(step.optimizer), step.scaler.value, same(before, _snapshot(step, model)))


@pytest.mark.dist
@pytest.mark.parametrize("strategy", ["ddp", "fsdp", pytest.param("hsdp copies", marks=pytest.mark.slow)])
def test_all_workers_skip_a_step_that_overflows_on_one(strategy: str) -> None:
    for found, alone in run_workers(overflow_everywhere, 2, strategy):
        assert found == dict.fromkeys(CASES, EXPECTED)
        assert alone == (True, SCALE / 2, True)


def run_scaled(world: World, scale: float) -> dict[str, Any]:
    """Parameters and losses of every case after the problem's steps; a scale of 0: there is none."""
    found = {}
    for name, (kind, asking) in CASES.items():
        step, model = _build(world, HARD, kind, asking, scale)
        losses = []
        for index in range(HARD.steps):
            batch = share(HARD, index, world.rank, world.size)
            facts = exchange([batch], 1, places(), world, stop=False, next_steps=1).facts[0]
            set_rate(step.optimizer, OPTIM, index, HARD.steps)
            losses.append(world.sum(step(batch, facts).losses.clone()).tolist())
        parameters = {key: value.detach().clone() for key, value in model.named_parameters()}
        found[name] = {"parameters": parameters, "losses": losses}
    return found


def test_a_scale_changes_nothing() -> None:
    """Numbers of every route, memories too, are those without it; the bound is far below one half precision step."""
    require_same(run_scaled(Solo(), SCALE), run_scaled(Solo(), 0.0))


@settings(deadline=None, max_examples=50)
@given(overflows=st.lists(st.booleans(), max_size=12), patience=st.integers(1, 4))
def test_the_scale_moves_as_torchs_own(overflows: list[bool], patience: int) -> None:
    """Halved by an overflow, doubled after enough steps without one, and no step is taken on an overflow."""
    ours, parameter = [], nn.Parameter(torch.zeros(1))
    theirs = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=patience)
    scale = LossScale(Solo(), enabled=True, initial=SCALE, patience=patience)
    mine, other = (torch.optim.SGD([p], lr=1.0) for p in (parameter, nn.Parameter(torch.zeros(1))))
    for overflow_here in overflows:
        for optimizer, loss_scale in ((mine, scale), (other, theirs)):
            (weight,) = optimizer.param_groups[0]["params"]
            weight.grad = None
            (loss_scale.scale(weight.sum()) * (float("inf") if overflow_here else 1.0)).backward()
        scale.unscale([parameter])
        ours.append(scale.update(mine))
        theirs.unscale_(other)
        theirs.step(other)
        theirs.update()
        assert scale.value == theirs.get_scale()
        assert torch.equal(parameter, other.param_groups[0]["params"][0])
        again = LossScale(Solo(), enabled=True)
        again.load(theirs.state_dict())  # of an older checkpoint
        assert again.state() == scale.state()
    assert ours == overflows
