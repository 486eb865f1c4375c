"""What all balancers of losses share."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.base import Needs, StepView
from distmtl.balancing.equal import Equal
from distmtl.balancing.fixed import Fixed
from distmtl.balancing.uncertainty import Uncertainty
from tests.balancing.laws import (
    LAWS,
    Law,
    Make,
    equal,
    names,
    restored,
    run,
    steps,
    the_order_of_the_tasks_does_not_matter,
)
from tests.balancing.loss_family import LOSS_FAMILY

CASES = {
    f"{kind}-{law.__name__}": (make, law)
    for law in LAWS
    for kind, make in LOSS_FAMILY.items()
    if kind != "rlw" or law is not the_order_of_the_tasks_does_not_matter  # it draws by the task's place
}

HARD_LOSSES = st.sampled_from([0.0, -2.0, 1e-300, 1e-9, 1e30, float("nan"), float("inf"), 1.0])


@pytest.mark.parametrize(("make", "law"), CASES.values(), ids=CASES.keys())
@given(views=steps())
@settings(max_examples=25, deadline=None)
def test_law(make: Make, law: Law, views: Sequence[StepView]) -> None:
    law(make, views)


@pytest.mark.parametrize("make", LOSS_FAMILY.values(), ids=LOSS_FAMILY.keys())
@given(views=steps(), hard=st.lists(HARD_LOSSES, min_size=5, max_size=5))
@settings(max_examples=30, deadline=None)
def test_losses_that_are_not_positive_or_not_finite_spoil_nothing(
    make: Make, views: Sequence[StepView], hard: list[float]
) -> None:
    first = views[0]
    tasks = len(first.present)
    views = [StepView(0, first.present, np.array(hard[:tasks]), first.gramian), *views[1:]]
    for step, weights, state in run(make, views):
        assert np.isfinite(weights[step.present]).all()
        assert (weights[step.present] >= 0.0).all()
        for name, vector in state.items():
            if name not in ("first", "last", "before", "adam"):
                assert np.isfinite(vector).all(), name


@pytest.mark.parametrize("make", LOSS_FAMILY.values(), ids=LOSS_FAMILY.keys())
def test_a_task_without_a_finite_loss_is_left_out_for_that_step(make: Make) -> None:
    gramian = np.diag([1.0, 4.0, 9.0])
    losses = np.array([2.0, np.inf, 0.5])
    broken = StepView(0, np.array([True, True, True]), losses, gramian)
    absent = StepView(0, np.array([True, False, True]), losses, gramian)
    (_, _, after_broken), (_, _, after_absent) = (run(make, [step])[0] for step in (broken, absent))
    assert equal(after_broken, after_absent)


@pytest.mark.parametrize("make", LOSS_FAMILY.values(), ids=LOSS_FAMILY.keys())
@given(views=steps(), stop=st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_a_run_that_is_resumed_twice_goes_on_as_it_would_have(make: Make, views: Sequence[StepView], stop: int) -> None:
    stop = min(stop, len(views))
    whole = [weights for _, weights, _ in run(make, views)]
    state = make(names(views)).init(len(views[0].present))
    for step in views[:stop]:
        _, state = make(names(views)).weights(step, state)
    kept = restored(state)
    for _ in range(2):
        state = kept
        for step, expected in zip(views[stop:], whole[stop:], strict=True):
            weights, state = make(names(views)).weights(step, state)
            assert equal(weights, expected)


@pytest.mark.parametrize("make", LOSS_FAMILY.values(), ids=LOSS_FAMILY.keys())
def test_weights_multiply_the_loss(make: Make) -> None:
    balancer = make(("a", "b"))
    assert balancer.multiplies == "loss"
    assert (balancer.needs is Needs.GRAMIAN) == (make is LOSS_FAMILY["gradnorm"])


def test_the_simplest_multiply_the_loss_too() -> None:
    assert [kind.multiplies for kind in (Equal, Fixed, Uncertainty)] == ["loss"] * 3
