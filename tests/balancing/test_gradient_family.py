"""What all balancers of gradients share."""

import inspect
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distmtl.balancing import gradient_specs
from distmtl.balancing.base import Needs, StepView
from distmtl.balancing.gradient_specs import GradientSpec, ProjectionSpec
from distmtl.balancing.submatrix import Matrix
from tests.balancing.gradient_family import ANY_SIGN, BY_PLACE, GRADIENT_FAMILY
from tests.balancing.gramians import gradients, hard, independent, lengths, view
from tests.balancing.laws import (
    LAWS,
    Law,
    Make,
    names,
    steps,
    the_order_of_the_tasks_does_not_matter,
    weights_are_finite_and_not_negative,
)

CASES = {
    f"{kind}-{law.__name__}": (make, law)
    for law in LAWS
    for kind, make in GRADIENT_FAMILY.items()
    if not (law is the_order_of_the_tasks_does_not_matter and kind in BY_PLACE)
    and not (law is weights_are_finite_and_not_negative and kind in ANY_SIGN)
}

ALL = pytest.mark.parametrize("make", GRADIENT_FAMILY.values(), ids=GRADIENT_FAMILY.keys())


@pytest.mark.parametrize(("make", "law"), CASES.values(), ids=CASES.keys())
@given(views=steps())
@settings(max_examples=15, deadline=None)
def test_law(make: Make, law: Law, views: Sequence[StepView]) -> None:
    law(make, views)


@ALL
@given(rows=hard())
@example(np.zeros((1, 3)))
@example(np.zeros((3, 3)))
@example(np.array([[1.0, 0.0], [0.0, 0.0]]))
@example(np.array([[1.0, 2.0], [1.0, 2.0]]))
@example(np.array([[1.0, 2.0], [-1.0, -2.0]]))
@example(np.array([[1e3, 2e3], [-1e-3, -2e-3], [1e-3, 2e-3]]))
@settings(max_examples=30, deadline=None)
def test_weights_are_finite_whatever_the_gradients(make: Make, rows: Matrix) -> None:
    balancer = make(tuple("abcdefghijkl"[: len(rows)]))
    state = balancer.init(len(rows))
    for step in range(3):
        weights, state = balancer.weights(view(rows, step=step), state)
        assert np.isfinite(weights).all()


@ALL
@given(rows=independent(largest=8), here=st.lists(st.booleans(), min_size=8, max_size=8), step=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_absent_tasks_leave_the_gramian(make: Make, rows: Matrix, here: list[bool], step: int) -> None:
    present = np.array(here[: len(rows)])
    seen = view(rows, present, step=step, seed=7)
    balancer = make(names([seen]))
    weights, _ = balancer.weights(seen, balancer.init(len(rows)))
    assert (weights[~present] == 0.0).all()
    if present.any():
        alone = view(rows[present], step=step, seed=7, losses=seen.losses[present])
        expected, _ = balancer.weights(alone, balancer.init(int(present.sum())))
        np.testing.assert_allclose(weights[present], expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in GRADIENT_FAMILY if kind not in BY_PLACE])
@given(rows=independent())
@settings(max_examples=40, deadline=None)
def test_tasks_may_come_in_any_order(kind: str, rows: Matrix) -> None:
    order = np.random.default_rng(0).permutation(len(rows))
    balancer = GRADIENT_FAMILY[kind](tuple("abcdefghijkl"[: len(rows)]))
    losses = np.linspace(0.5, 2.0, len(rows))
    weights, _ = balancer.weights(view(rows, losses=losses), balancer.init(len(rows)))
    turned, _ = balancer.weights(view(rows[order], losses=losses[order]), balancer.init(len(rows)))
    moved = weights * lengths(rows)
    np.testing.assert_allclose(turned * lengths(rows[order]), moved[order], rtol=1e-7, atol=1e-9 * np.abs(moved).max())


@ALL
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_the_unit_of_the_losses_does_not_matter(make: Make, factor: float) -> None:
    rows = gradients(3, 6, decades=2.0)
    balancer = make(tuple("abcdef"))
    weights, _ = balancer.weights(view(rows), balancer.init(6))
    scaled, _ = balancer.weights(view(factor * rows), balancer.init(6))
    np.testing.assert_allclose(scaled / scaled.sum(), weights / weights.sum(), rtol=1e-8)


@ALL
def test_one_task_goes_along_its_gradient(make: Make) -> None:
    balancer = make(("a",))
    weights, _ = balancer.weights(view(np.array([[3.0, 4.0]])), balancer.init(1))
    assert weights[0] > 0.0


@pytest.mark.parametrize("kind", BY_PLACE)
def test_chance_is_keyed_by_seed_and_step(kind: str) -> None:
    rows = gradients(0, 8, decades=0.0, size=4)
    balancer = GRADIENT_FAMILY[kind](tuple("abcdefgh"))

    def weights(step: int, seed: int) -> list[float]:
        found: list[float] = balancer.weights(view(rows, step=step, seed=seed), balancer.init(8))[0].tolist()
        return found

    assert weights(5, 1) == weights(5, 1)
    assert weights(5, 1) != weights(6, 1)
    assert weights(5, 1) != weights(5, 2)


def specs() -> dict[str, type[GradientSpec]]:
    found = [
        value for value in vars(gradient_specs).values() if inspect.isclass(value) and issubclass(value, GradientSpec)
    ]
    return {get_args(s.model_fields["kind"].annotation)[0]: s for s in found if s not in (GradientSpec, ProjectionSpec)}


@pytest.mark.parametrize("kind", [kind for kind in GRADIENT_FAMILY if kind in specs()])
def test_a_balancer_takes_the_fields_of_its_spec(kind: str) -> None:
    spec = specs()[kind]()
    balancer = type(GRADIENT_FAMILY[kind](("a",)))
    own = {name: value for name, value in spec if name != "kind" and name not in GradientSpec.model_fields}
    wanted = dict(inspect.signature(balancer).parameters)
    assert own == {name: parameter.default for name, parameter in wanted.items()}
    made = balancer(**own)
    assert (made.needs, made.multiplies) == (Needs.GRAMIAN, "gradient")
