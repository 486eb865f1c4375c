import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.build import build_balancer, choose_route
from distmtl.balancing.gradient_specs import GradDropSpec, MoCoSpec, UpGradSpec
from distmtl.balancing.specs import BalancingSpec, GradientFamilySpec
from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec
from tests.balancing.every import EVERY_SPEC


class First:
    """A user's balancer: everything for the first task."""

    needs = Needs.NOTHING
    multiplies = "loss"

    def __init__(self, tasks: tuple[str, ...], weight: float = 1.0) -> None:
        self.weight = weight

    def init(self, tasks: int) -> State:
        return {}

    def weights(self, view: StepView, state: State) -> tuple[Vector, State]:
        return np.eye(len(view.present))[0] * self.weight, state


class NoBalancer:
    def __init__(self, tasks: tuple[str, ...]) -> None: ...

    def init(self, tasks: int) -> State:
        return {}


CUSTOM = CustomSpec(target=f"{__name__}:First", args={"weight": 3.0})


@pytest.mark.parametrize("kind", EVERY_SPEC)
def test_every_kind_in_the_run_file_can_be_built(kind: str) -> None:
    spec = EVERY_SPEC[kind]
    balancer = build_balancer(spec, ("a", "b"))
    gramian = np.array([[2.0, -0.5], [-0.5, 1.0]]) if balancer.needs is Needs.GRAMIAN else None
    view = StepView(0, np.array([True, True]), np.array([1.0, 2.0]), gramian)
    weights, _ = balancer.weights(view, balancer.init(2))
    assert weights.shape == (2,)
    assert np.isfinite(weights).all()
    assert balancer.multiplies == ("gradient" if isinstance(spec, get_args(GradientFamilySpec)) else "loss")


def test_the_test_knows_every_kind() -> None:
    union = get_args(get_args(BalancingSpec)[0])
    assert set(union) == {type(spec) for spec in EVERY_SPEC.values()} | {CustomSpec}


@pytest.mark.parametrize("kind", EVERY_SPEC)
def test_gradients_are_looked_at_where_they_are_needed_alone(kind: str) -> None:
    spec = EVERY_SPEC[kind]
    balancer = build_balancer(spec, ("a", "b"))
    asking = choose_route(spec, balancer, 2)
    assert asking.route == ("exact" if balancer.needs is Needs.GRAMIAN else "loss")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (MoCoSpec(route="sketch"), "route: exact"),
        (GradDropSpec(update_every=2), "update_every at 1"),
        (UpGradSpec(route="features"), "the tasks read 2 sources"),
    ],
)
def test_a_route_that_cannot_serve_is_refused(spec: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        choose_route(spec, build_balancer(spec, ("a", "b")), 2)


def test_a_custom_balancer_gets_its_arguments() -> None:
    view = StepView(0, np.array([True, True]), np.array([1.0, 2.0]), None)
    weights, _ = build_balancer(CUSTOM, ("a", "b")).weights(view, {})
    assert weights.tolist() == [3.0, 0.0]


def test_what_a_custom_balancer_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"is no balancer: it lacks weights\(\)"):
        build_balancer(CustomSpec(target=f"{__name__}:NoBalancer"), ("a",))


def test_balancers_load_no_torch() -> None:
    code = "import sys, distmtl.balancing.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
