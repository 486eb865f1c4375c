import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest

from distmtl.balancing.base import Needs, State, StepView, Vector
from distmtl.balancing.build import build_balancer
from distmtl.balancing.specs import BalancingSpec, EqualSpec, FixedSpec, UncertaintySpec
from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec


class First:
    """A user's balancer: everything for the first task."""

    needs = Needs.NOTHING

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


SPECS: dict[type, Any] = {
    EqualSpec: EqualSpec(),
    FixedSpec: FixedSpec(weights={"a": 2.0}),
    UncertaintySpec: UncertaintySpec(),
    CustomSpec: CustomSpec(target=f"{__name__}:First", args={"weight": 3.0}),
}


@pytest.mark.parametrize("kind", get_args(get_args(BalancingSpec)[0]))
def test_every_kind_in_the_run_file_can_be_built(kind: type) -> None:
    balancer = build_balancer(SPECS[kind], ("a", "b"))
    view = StepView(0, np.array([True, True]), np.array([1.0, 2.0]), None)
    weights, _ = balancer.weights(view, balancer.init(2))
    assert weights.shape == (2,)


def test_a_custom_balancer_gets_its_arguments() -> None:
    view = StepView(0, np.array([True, True]), np.array([1.0, 2.0]), None)
    weights, _ = build_balancer(SPECS[CustomSpec], ("a", "b")).weights(view, {})
    assert weights.tolist() == [3.0, 0.0]


def test_what_a_custom_balancer_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"is no balancer: it lacks weights\(\)"):
        build_balancer(CustomSpec(target=f"{__name__}:NoBalancer"), ("a",))


def test_balancers_load_no_torch() -> None:
    code = "import sys, distmtl.balancing.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
