from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from distmtl.sampling.base import SourceSize, Statistics
from distmtl.sampling.proportional import Proportional
from distmtl.sampling.temperature import Temperature
from distmtl.sampling.uniform import Uniform
from tests.sampling.laws import LAWS, Law, Make, losses, sources

SAMPLERS: dict[str, Make] = {
    "proportional": Proportional,
    "uniform": Uniform,
    "temperature": Temperature,
    "temperature, capped": lambda: Temperature(tau=3.0, cap=1000),
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())
@given(sizes=sources, measured=losses)
@settings(max_examples=40, deadline=None)
def test_law(make: Make, law: Law, sizes: Sequence[SourceSize], measured: Sequence[Statistics]) -> None:
    law(make, sizes, measured)
