"""What every balancer must obey; ``test_laws.py`` runs each law on each balancer."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from distmtl.balancing.base import Balancer, State, StepView

Make = Callable[[tuple[str, ...]], Balancer]
"""Makes a balancer for these tasks."""

Law = Callable[[Make, Sequence[StepView]], None]


@st.composite
def steps(draw: st.DrawFn) -> list[StepView]:
    """Some steps of one run: every step has a present task, absent tasks have no loss."""
    tasks = draw(st.integers(1, 5))
    views = []
    for step in range(draw(st.integers(1, 6))):
        present = np.array(draw(st.lists(st.booleans(), min_size=tasks, max_size=tasks).filter(any)))
        losses = np.array(draw(st.lists(st.floats(1e-6, 1e3), min_size=tasks, max_size=tasks)))
        root = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((tasks, tasks + 2))
        views.append(StepView(step, present, np.where(present, losses, np.nan), root @ root.T))
    return views


def weights_are_finite_and_not_negative(make: Make, views: Sequence[StepView]) -> None:
    for view, weights, _ in run(make, views):
        assert weights.dtype == np.float64
        assert weights.shape == view.present.shape
        assert np.isfinite(weights[view.present]).all()
        assert (weights[view.present] >= 0.0).all()


def the_same_arguments_give_the_same_result(make: Make, views: Sequence[StepView]) -> None:
    balancer = make(names(views))
    state = balancer.init(len(views[0].present))
    for view in views:
        first, next_state = balancer.weights(view, state)
        again, next_again = balancer.weights(view, state)
        assert equal(first, again)
        assert equal(next_state, next_again)
        state = next_state


def arguments_are_not_changed(make: Make, views: Sequence[StepView]) -> None:
    balancer = make(names(views))
    state = balancer.init(len(views[0].present))
    for view in views:
        state_before, view_before = copy.deepcopy(state), copy.deepcopy(view)
        _, next_state = balancer.weights(view, state)
        assert equal(state, state_before)
        assert equal(vars(view), vars(view_before))
        state = next_state


def a_restored_state_goes_on_as_before(make: Make, views: Sequence[StepView]) -> None:
    uninterrupted = run(make, views)
    state = make(names(views)).init(len(views[0].present))
    for view, weights, _ in uninterrupted:
        here, state = make(names(views)).weights(view, restored(state))
        assert equal(here, weights)


def losses_of_absent_tasks_are_not_read(make: Make, views: Sequence[StepView]) -> None:
    strange = [StepView(v.step, v.present, np.where(v.present, v.losses, 1e9), v.gramian) for v in views]
    for (view, weights, state), (_, other, other_state) in zip(run(make, views), run(make, strange), strict=True):
        assert equal(weights[view.present], other[view.present])
        assert equal(state, other_state)


def absent_tasks_keep_their_state(make: Make, views: Sequence[StepView]) -> None:
    balancer = make(names(views))
    state = balancer.init(len(views[0].present))
    for view in views:
        _, next_state = balancer.weights(view, state)
        for before, after in zip(vectors(state), vectors(next_state), strict=True):
            assert equal(before[~view.present], after[~view.present])
        state = next_state


def the_order_of_the_tasks_does_not_matter(make: Make, views: Sequence[StepView]) -> None:
    order = np.random.default_rng(0).permutation(len(views[0].present))
    turned = [
        StepView(v.step, v.present[order], v.losses[order], None if v.gramian is None else v.gramian[order][:, order])
        for v in views
    ]
    turned_names = tuple(np.array(names(views))[order].tolist())
    for (view, weights, _), (_, other, _) in zip(
        run(make, views), run(lambda _: make(turned_names), turned), strict=True
    ):
        here = view.present[order]
        np.testing.assert_allclose(weights[order][here], other[here], rtol=1e-9)


LAWS: tuple[Law, ...] = (
    weights_are_finite_and_not_negative,
    the_same_arguments_give_the_same_result,
    arguments_are_not_changed,
    a_restored_state_goes_on_as_before,
    losses_of_absent_tasks_are_not_read,
    absent_tasks_keep_their_state,
    the_order_of_the_tasks_does_not_matter,
)


def run(make: Make, views: Sequence[StepView]) -> list[tuple[StepView, Any, State]]:
    """Each step with the weights that the balancer gave it and the state after it."""
    balancer = make(names(views))
    state = balancer.init(len(views[0].present))
    outcomes = []
    for view in views:
        weights, state = balancer.weights(view, state)
        outcomes.append((view, weights, state))
    return outcomes


def names(views: Sequence[StepView]) -> tuple[str, ...]:
    return tuple("abcdefgh"[: len(views[0].present)])


def vectors(state: Any) -> list[Any]:
    """The NumPy arrays of a state whose first dimension is the task, in a fixed order."""
    if isinstance(state, Mapping):
        return [vector for key in sorted(state) for vector in vectors(state[key])]
    return [state] if isinstance(state, np.ndarray) else []


def restored(state: Any) -> Any:
    """A state as a checkpoint gives it back: arrays from their bytes, everything else from JSON."""
    if isinstance(state, Mapping):
        return {key: restored(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return np.frombuffer(state.tobytes(), state.dtype).reshape(state.shape)
    return json.loads(json.dumps(state))


def equal(a: Any, b: Any) -> bool:
    """Whether two values are equal bit for bit, NaN included."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)
