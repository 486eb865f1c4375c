"""Balancers that work on the gradients themselves: what they do does not depend on how columns are spread."""

import copy
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.base import State, StepView, Vector
from distmtl.balancing.db_mtl import DbMtl
from distmtl.balancing.excess_mtl import ExcessMtl
from distmtl.balancing.graddrop import GradDrop
from distmtl.balancing.moco import MoCo
from distmtl.balancing.shards import ShardBalancer

Matrix = np.ndarray[Any, np.dtype[np.float64]]
MAKE: dict[str, Any] = {"graddrop": GradDrop, "moco": MoCo, "db_mtl": DbMtl, "excess_mtl": ExcessMtl}
P = 12


def play(balancer: ShardBalancer, steps: list[tuple[Matrix, Any, Vector]], cuts: list[int]) -> list[Matrix]:
    """The updates of some steps, with the columns cut into shards at these places."""
    tasks = len(steps[0][1])
    edges = [0, *sorted(cuts), P]
    shards = [slice(*edge) for edge in pairwise(edges)]
    state: State = balancer.init(tasks)
    memories = [{name: np.zeros((tasks, P))[:, shard] for name in balancer.memories} for shard in shards]
    updates = []
    for number, (gradients, present, losses) in enumerate(steps):
        chance = np.random.default_rng(number).random(P)
        view = StepView(number, present, losses, gradients @ gradients.T)
        before = copy.deepcopy((gradients, memories, state))
        parts = [balancer.vectors(gradients[:, s], view, m) for s, m in zip(shards, memories, strict=True)]
        products = sum(
            balancer.products(gradients[:, s], vectors, kept) for s, (vectors, kept) in zip(shards, parts, strict=True)
        )
        weights, next_state = balancer.weights(StepView(number, present, losses, products), state)
        updates.append(
            np.concatenate(
                [
                    balancer.combine(vectors, weights, partial(chance.__getitem__, s))
                    for s, (vectors, _) in zip(shards, parts, strict=True)
                ]
            )
        )
        np.testing.assert_equal((gradients, memories, state), before)  # arguments are not changed
        state, memories = next_state, [kept for _, kept in parts]
    return updates


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[Matrix, Any, Vector]]:
    tasks = draw(st.integers(1, 4))
    steps = []
    for _ in range(draw(st.integers(1, 5))):
        present = np.array(draw(st.lists(st.booleans(), min_size=tasks, max_size=tasks).filter(any)))
        random = np.random.default_rng(draw(st.integers(0, 999)))
        scale = 10.0 ** random.integers(-3, 4, (tasks, 1))
        gradients = random.standard_normal((tasks, P)) * scale * present[:, None]
        losses = np.where(present, random.random(tasks) + 0.1, np.nan)
        steps.append((gradients, present, losses))
    return steps


@pytest.mark.parametrize("kind", MAKE)
@settings(deadline=None, max_examples=40)
@given(steps=runs(), cuts=st.lists(st.integers(0, P), max_size=4))
def test_the_cut_into_shards_does_not_matter(
    kind: str, steps: list[tuple[Matrix, Any, Vector]], cuts: list[int]
) -> None:
    whole = play(MAKE[kind](), steps, [])
    for update, expected in zip(play(MAKE[kind](), steps, cuts), whole, strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(update, expected, rtol=1e-9, atol=1e-12)


def test_graddrop_keeps_one_sign() -> None:
    gradients = np.array([[1.0, -2.0, 3.0], [-3.0, 1.0, 4.0]])
    drop = GradDrop()
    low = drop.combine(gradients, np.ones(2), lambda: np.zeros(3))
    high = drop.combine(gradients, np.ones(2), lambda: np.full(3, 0.999999))
    np.testing.assert_allclose(low, [1.0, 1.0, 7.0])  # below every probability that is not 0: the positive ones
    np.testing.assert_allclose(high, [-3.0, -2.0, 7.0])
    np.testing.assert_allclose(GradDrop(leak=1.0).combine(gradients, np.ones(2), lambda: np.zeros(3)), gradients.sum(0))


def test_moco_follows_its_equations() -> None:
    random = np.random.default_rng(0)
    y, weights = np.zeros((3, P)), np.full(3, 1 / 3)
    steps, expected = [], []
    for number in range(6):
        gradients, losses = random.standard_normal((3, P)), random.random(3)
        steps.append((gradients, np.ones(3, bool), losses))
        fall = (number + 1) ** -0.5
        h = gradients * (losses / np.linalg.norm(gradients, axis=1))[:, None]
        y = y - 0.5 * fall * (y - h)
        z = np.exp(weights - 0.1 * fall * (y @ y.T @ weights))
        weights = z / z.sum()
        expected.append(weights @ y)
    np.testing.assert_allclose(play(MoCo(), steps, [5]), expected, rtol=1e-10)


def test_db_mtl_makes_all_means_as_long_as_the_longest() -> None:
    random = np.random.default_rng(1)
    m, steps, expected = np.zeros((2, P)), [], []
    for _ in range(5):
        gradients, losses = random.standard_normal((2, P)), random.random(2) + 0.5
        steps.append((gradients, np.ones(2, bool), losses))
        m = 0.9 * m + 0.1 * gradients / losses[:, None]
        norms = np.linalg.norm(m, axis=1)
        expected.append((norms.max() / norms) @ m)
    np.testing.assert_allclose(play(DbMtl(), steps, [3, 7]), expected, rtol=1e-10)


def test_excess_mtl_weighs_by_scaled_squares() -> None:
    random = np.random.default_rng(2)
    squares, weights, first = np.zeros((2, P)), np.full(2, 0.5), None
    steps, expected = [], []
    for _ in range(5):
        gradients = random.standard_normal((2, P))
        steps.append((gradients, np.ones(2, bool), np.ones(2)))
        squares = squares + gradients**2
        excess = (gradients**2 / np.sqrt(squares + 1e-7)).sum(1)
        first = excess if first is None else first
        weights = weights * np.exp(excess / first)
        weights = weights / weights.sum()
        expected.append(weights @ gradients)
    np.testing.assert_allclose(play(ExcessMtl(), steps, []), expected, rtol=1e-10)
