import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.training.schedule import rate_factor
from distmtl.training.specs import ConstantSpec, CosineSpec, LinearSpec

SPECS = (ConstantSpec, CosineSpec, LinearSpec)


@given(
    kind=st.sampled_from(SPECS),
    steps=st.integers(1, 1000),
    warmup=st.integers(0, 100),
    step=st.integers(0, 1000),
)
def test_the_rate_is_a_share(kind: type, steps: int, warmup: int, step: int) -> None:
    assert 0.0 <= rate_factor(kind(warmup_steps=warmup), step, steps) <= 1.0


@pytest.mark.parametrize("kind", SPECS)
def test_warmup_rises_to_the_full_rate(kind: type) -> None:
    spec = kind(warmup_steps=4)
    assert [rate_factor(spec, step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_and_linear_are_halfway_in_the_middle() -> None:
    assert math.isclose(rate_factor(CosineSpec(final_ratio=0.2), 50, 100), 0.6)
    assert math.isclose(rate_factor(LinearSpec(final_ratio=0.2), 50, 100), 0.6)
    assert rate_factor(LinearSpec(), 100, 100) == 0.0


def test_an_extended_run_follows_the_longer_schedule() -> None:
    assert rate_factor(CosineSpec(), 100, 200) == pytest.approx(0.5)
