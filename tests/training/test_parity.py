"""The update law for every balancer, route and strategy, and the resume law for balancers with state.

One process on the whole batch is the truth; docs/exactness.md has the table.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from distmtl.balancing.build import Asking, build_balancer, choose_route
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import Solo, World
from tests.balancing.every import EVERY_SPEC
from tests.processes import run_workers
from tests.training.problems import Problem, places, train

TASKS = tuple(place.task.name for place in places())
HARD = Problem(rows=(23, 9), missing=0.6, absent=frozenset({3, 4}), weighted=True, dropout=0.3, steps=20)
"""60 % of labels missing, a task absent from two steps, uneven shares, row weights, dropout."""

STRATEGIES = {
    "ddp": ParallelSpec(),
    "fsdp": ParallelSpec(strategy="fsdp"),
    "hsdp copies": ParallelSpec(strategy="hsdp", shard_size=1),
    "hsdp": ParallelSpec(strategy="hsdp", shard_size=2),
    "fsdp, kept": ParallelSpec(strategy="fsdp", reshard_after_forward=False, activation_checkpointing=True),
    "ddp, again": ParallelSpec(activation_checkpointing=True),
    "fsdp, offloaded": ParallelSpec(strategy="fsdp", cpu_offload=True),
}
GRADIENTS = ("mgda", "upgrad", "pcgrad", "graddrop", "moco", "gradnorm")
"""Some of each way of weighing by gradients."""


def section(kind: str) -> Any:
    """The kind's section, about tasks of the problem."""
    spec = EVERY_SPEC[kind]
    names = {"a": TASKS[0], "b": TASKS[1]}
    if kind == "fixed":
        return spec.model_copy(update={"weights": {names[k]: v for k, v in spec.weights.items()}})
    if kind == "scheduled":
        moved = [p.model_copy(update={"weights": {names[k]: v for k, v in p.weights.items()}}) for p in spec.points]
        return spec.model_copy(update={"points": tuple(moved)})
    return spec


def train_each(world: World, kinds: tuple[str, ...], problem: Problem, asking: dict[str, Any]) -> dict[str, Any]:
    """The run of every kind."""
    found = {}
    for kind in kinds:
        balancer = build_balancer(section(kind), TASKS)
        chosen = choose_route(section(kind), balancer, 2)
        chosen = replace(chosen, **asking) if chosen.route != "loss" else chosen
        found[kind] = train(world, replace(problem, asking=chosen), balancer)
    return found


def require_same(found: dict[str, Any], expected: dict[str, Any], bound: float = 1e-10) -> None:
    """Parameters and losses within a relative bound of the largest of each tensor."""
    for kind, run in expected.items():
        for name, whole in run["parameters"].items():
            difference = (found[kind]["parameters"][name] - whole).abs().max() / whole.abs().max().clamp_min(1e-12)
            assert difference <= bound, f"{kind}: {name} differs by {float(difference):.1e}"
        np.testing.assert_allclose(found[kind]["losses"], run["losses"], rtol=max(bound, 1e-10), err_msg=kind)


def compare(size: int, kinds: tuple[str, ...], problem: Problem, strategy: str, asking: dict[str, Any]) -> None:
    """The runs of ``size`` workers against those of one."""
    alone = train_each(Solo(), kinds, replace(problem, micro_rows=None), asking)
    spread = replace(problem, parallel=STRATEGIES[strategy])
    for found in run_workers(train_each, size, kinds, spread, asking):
        require_same(found, alone)


@pytest.mark.dist
@pytest.mark.parametrize(
    ("strategy", "size", "micro_rows"),
    [
        ("ddp", 2, None),
        ("fsdp", 2, None),
        pytest.param("ddp", 2, 5, marks=pytest.mark.slow),
        pytest.param("fsdp", 2, 5, marks=pytest.mark.slow),
        pytest.param("hsdp copies", 2, None, marks=pytest.mark.slow),
        pytest.param("ddp", 4, None, marks=pytest.mark.slow),
        pytest.param("fsdp", 4, 5, marks=pytest.mark.slow),
        pytest.param("hsdp", 4, None, marks=pytest.mark.slow),
        pytest.param("hsdp", 4, 5, marks=pytest.mark.slow),
    ],
)
def test_every_balancer_under_every_strategy(strategy: str, size: int, micro_rows: int | None) -> None:
    compare(size, tuple(EVERY_SPEC), replace(HARD, micro_rows=micro_rows), strategy, {})


@pytest.mark.dist
@pytest.mark.parametrize(
    ("strategy", "asking"),
    [
        ("ddp", {"route": "sketch", "sketch_size": 64}),
        pytest.param("fsdp", {"route": "sketch", "sketch_size": 64}, marks=pytest.mark.slow),
        ("ddp", {"update_every": 3}),
        pytest.param("fsdp", {"update_every": 3}, marks=pytest.mark.slow),
        pytest.param("fsdp, kept", {}, marks=pytest.mark.slow),
        pytest.param("ddp, again", {}, marks=pytest.mark.slow),
        pytest.param("fsdp, offloaded", {}, marks=pytest.mark.slow),
    ],
)
def test_routes_and_memory_options(strategy: str, asking: dict[str, Any]) -> None:
    """A sketch, too, is the same whatever the workers: its error is one against the exact route."""
    kinds = tuple(kind for kind in GRADIENTS if not (asking and kind in ("graddrop", "moco")))
    compare(2, kinds, replace(HARD, steps=8), strategy, asking)


@pytest.mark.dist
@pytest.mark.parametrize(("strategy", "micro_rows"), [pytest.param("ddp", None, marks=pytest.mark.slow), ("fsdp", 4)])
def test_the_feature_route(strategy: str, micro_rows: int | None) -> None:
    one_source = replace(HARD, rows=(23, 0), steps=8, micro_rows=micro_rows)
    compare(2, ("mgda", "upgrad"), one_source, strategy, {"route": "features"})


def test_recomputed_activations_change_nothing() -> None:
    plain = train_each(Solo(), GRADIENTS, replace(HARD, steps=6), {})
    again = train_each(Solo(), GRADIENTS, replace(HARD, steps=6, parallel=STRATEGIES["ddp, again"]), {})
    require_same(again, plain, bound=0.0)


def test_equal_gradient_weights_are_one_backward_pass() -> None:
    """GradDrop that leaks all of every gradient is their sum: the loss route's update."""
    problem = replace(HARD, steps=6)
    leaking = build_balancer(EVERY_SPEC["graddrop"].model_copy(update={"leak": 1.0}), TASKS)
    summed = train(Solo(), replace(problem, asking=Asking("exact", "")), leaking)
    equal = train(Solo(), problem, build_balancer(EVERY_SPEC["equal"], TASKS))
    require_same({"sum": summed}, {"sum": equal}, bound=1e-12)
