import subprocess
import sys
from collections.abc import Sequence
from typing import Any, get_args

import pytest

from distmtl.errors import ConfigError
from distmtl.sampling.base import SourceSize, State, Statistics
from distmtl.sampling.build import build_sampler
from distmtl.sampling.specs import (
    CustomSamplerSpec,
    ProportionalSpec,
    SamplingSpec,
    TemperatureSpec,
    UniformSpec,
)


class Reversed:
    """A user's sampler: the last source most."""

    update_every = None

    def __init__(self, base: int) -> None:
        self.base = base

    def init(self, sources: Sequence[SourceSize]) -> State:
        return {"n": len(sources)}

    def update(self, statistics: Statistics, state: State, step: int) -> tuple[tuple[int, ...], State]:
        return tuple(self.base**i for i in range(state["n"])), state


class NoSampler:
    update_every = None


SPECS: dict[type, Any] = {
    ProportionalSpec: ProportionalSpec(),
    UniformSpec: UniformSpec(),
    TemperatureSpec: TemperatureSpec(tau=3.0, cap=5),
    CustomSamplerSpec: CustomSamplerSpec(target=f"{__name__}:Reversed", args={"base": 3}),
}


@pytest.mark.parametrize("kind", get_args(get_args(SamplingSpec)[0]))
def test_every_kind_in_the_run_file_can_be_built(kind: type) -> None:
    sampler = build_sampler(SPECS[kind])
    weights, _ = sampler.update(Statistics({}), sampler.init([SourceSize("a", 1), SourceSize("b", 2)]), 0)
    assert len(weights) == 2


def test_a_custom_sampler_gets_its_arguments() -> None:
    assert build_sampler(SPECS[CustomSamplerSpec]).update(Statistics({}), {"n": 3}, 0)[0] == (1, 3, 9)


def test_what_a_custom_sampler_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"is no sampler: it lacks init\(\), update\(\)"):
        build_sampler(CustomSamplerSpec(target=f"{__name__}:NoSampler"))


def test_samplers_load_no_torch() -> None:
    code = "import sys, distmtl.sampling.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
