from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from distmtl.balancing.base import StepView
from distmtl.balancing.equal import Equal
from distmtl.balancing.fixed import Fixed
from distmtl.balancing.uncertainty import Uncertainty
from tests.balancing.laws import LAWS, Law, Make, steps

BALANCERS: dict[str, Make] = {
    "equal": lambda tasks: Equal(),
    "fixed": lambda tasks: Fixed({"a": 0.25, "c": 3.0} if "c" in tasks else {}, tasks),
    "uncertainty": lambda tasks: Uncertainty(lr=0.05, initial=-0.5),
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("make", BALANCERS.values(), ids=BALANCERS.keys())
@given(views=steps())
@settings(max_examples=40, deadline=None)
def test_law(make: Make, law: Law, views: Sequence[StepView]) -> None:
    law(make, views)
