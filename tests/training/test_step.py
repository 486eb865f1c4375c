"""The update, honest weight and idle laws of the step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.base import Balancer, Needs, State, StepView, Vector
from distmtl.balancing.build import build_balancer
from distmtl.balancing.loss_specs import EqualSpec, UncertaintySpec
from distmtl.parallel.world import Solo, World
from distmtl.training.facts import exchange
from distmtl.training.optim import set_rate
from tests.processes import run_workers
from tests.training.problems import OPTIM, Problem, build_step, global_step, places, share, train

TASKS = ("click", "price", "topic")


class LossWeights:
    """Needs this step's losses: the weight of a task is its share of the total."""

    needs = Needs.LOSSES
    multiplies = "loss"

    def init(self, tasks: int) -> State:
        return {"seen": np.zeros(tasks)}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        losses = np.where(view.present, view.losses, 0.0)
        return losses / max(losses.sum(), 1e-9), {"seen": state["seen"] + losses}


def balancers() -> dict[str, Balancer]:
    return {
        "equal": build_balancer(EqualSpec(), TASKS),
        "uncertainty": build_balancer(UncertaintySpec(lr=0.05), TASKS),
        "losses": LossWeights(),
    }


HARD = Problem(missing=0.6, absent=frozenset({3, 4}), weighted=True, dropout=0.3)
CASES = {
    "plain": (Problem(), "equal"),
    "hard": (HARD, "equal"),
    "few rows": (Problem(rows=(2, 1), missing=0.3, steps=30), "equal"),
    "no heads in ddp": (replace(HARD, riding=()), "equal"),
    "accumulation": (replace(HARD, micro_rows=3), "equal"),
    "row mean": (replace(HARD, objective="row_mean"), "equal"),
    "uncertainty": (replace(HARD, riding=("click", "price")), "uncertainty"),
    "weights from losses": (replace(HARD, micro_rows=4), "losses"),
    # the larger share makes two micro-batches, the smaller one
    "uneven micro-batches": (replace(HARD, rows=(13, 6), micro_rows=9), "losses"),
}


def _train_all(world: World) -> dict[str, dict[str, object]]:
    return {name: train(world, problem, balancers()[balancer]) for name, (problem, balancer) in CASES.items()}


@pytest.mark.dist
@pytest.mark.parametrize("size", [2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_the_update_does_not_depend_on_the_number_of_workers(size: int) -> None:
    alone = _train_all(Solo())
    for results in run_workers(_train_all, size):
        for name, result in results.items():
            for key, expected in alone[name]["parameters"].items():  # type: ignore[attr-defined]
                torch.testing.assert_close(
                    result["parameters"][key], expected, rtol=1e-10, atol=1e-10, msg=f"{name} {key}"
                )
            np.testing.assert_allclose(result["losses"], alone[name]["losses"], rtol=1e-10, err_msg=name)


@settings(deadline=None, max_examples=20)
@given(micro=st.integers(1, 25), missing=st.sampled_from([0.0, 0.5, 0.9]), riding=st.sets(st.sampled_from(TASKS)))
def test_accumulation_does_not_change_the_update(micro: int, missing: float, riding: set[str]) -> None:
    problem = Problem(missing=missing, dropout=0.2, riding=tuple(sorted(riding)), steps=4)
    whole = train(Solo(), problem, balancers()["losses"])
    cut = train(Solo(), replace(problem, micro_rows=micro), balancers()["losses"])
    for key, expected in whole["parameters"].items():
        torch.testing.assert_close(cut["parameters"][key], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("objective", ["task_mean", "row_mean"])
def test_the_gradient_is_that_of_the_written_objective(objective: str) -> None:
    problem = replace(HARD, objective=objective, dropout=0.0)
    step, model = build_step(problem, balancers()["equal"], Solo())
    batch = share(problem, 0, 0, 1)
    total = torch.zeros((), dtype=torch.float64)
    parts = {part.source: part for part in batch.sources}
    for place in places():
        part = parts[place.source]
        target = part.targets[place.column]
        valid = place.task.valid(target)
        weights = torch.ones_like(target, dtype=torch.float64) if part.weights is None else part.weights
        losses = place.task.losses(model(dict(part.inputs))[place.task.name], target)
        count = weights[valid].sum() if objective == "task_mean" else sum(problem.rows)
        total = total + place.weight * (losses * weights)[valid].sum() / count
    expected = torch.autograd.grad(total, list(model.parameters()))
    set_rate(step.optimizer, OPTIM, 0, 10)
    facts = exchange([batch], 1, places(), Solo(), stop=False, next_steps=1).facts[0]
    step(batch, facts)
    norm = torch.nn.utils.get_total_norm(expected)
    scale = min(1.0, 1.0 / float(norm))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient * scale, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("riding", [TASKS, ()])
def test_an_idle_head_is_left_alone(riding: tuple[str, ...]) -> None:
    problem = Problem(absent=frozenset({1}), riding=riding)
    step, model = build_step(problem, balancers()["equal"], Solo())
    for index in range(2):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        moments = {p: {k: v.clone() for k, v in s.items()} for p, s in step.optimizer.state.items()}
        batch = share(problem, index, 0, 1)
        set_rate(step.optimizer, OPTIM, index + 2, 10)
        outcome = step(batch, exchange([batch], 1, places(), Solo(), stop=False, next_steps=1).facts[0])
    assert outcome.weights.tolist() == [1.0, 0.5, 0.0]
    for name, parameter in model.named_parameters():
        if name.endswith("missing"):
            continue  # no value of this data is missing: a gradient of zero moves nothing
        idle = name.startswith("private.topic")
        assert torch.equal(before[name], parameter) == idle, name
        for slot, value in step.optimizer.state[parameter].items():
            assert torch.equal(moments[parameter][slot], value) == idle, (name, slot)


def test_counts_are_of_the_global_step() -> None:
    problem = replace(HARD, missing=0.5)
    whole = exchange([share(problem, 0, 0, 1)], 1, places(), Solo(), stop=False, next_steps=4)
    parts = [exchange([share(problem, 0, rank, 4)], 1, places(), Solo(), stop=True, next_steps=2) for rank in range(4)]
    np.testing.assert_allclose(sum(part.facts[0].counts for part in parts), whole.facts[0].counts, rtol=1e-12)
    assert (whole.stop, parts[0].stop) == (False, True)
    assert (whole.next_steps, parts[0].next_steps) == (4, 2)
    assert whole.facts[0].rows == sum(part.rows for part in global_step(problem, 0))
