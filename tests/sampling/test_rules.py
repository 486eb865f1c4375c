import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.sampling.base import Sampler, SourceSize, Statistics
from distmtl.sampling.proportional import Proportional
from distmtl.sampling.quantise import RESOLUTION, quantise
from distmtl.sampling.temperature import Temperature
from distmtl.sampling.uniform import Uniform


def decide(sampler: Sampler, rows: list[int]) -> tuple[int, ...]:
    state = sampler.init([SourceSize(str(i), n) for i, n in enumerate(rows)])
    return sampler.update(Statistics({}), state, 0)[0]


def shares(weights: tuple[int, ...]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


@given(st.lists(st.floats(0.0, 1e12), min_size=1, max_size=20).filter(any))
def test_a_quantised_share_is_right_to_the_resolution(scores: list[float]) -> None:
    total = math.fsum(scores)
    # rounding each weight moves the sum by at most one unit per source
    bound = (1 + len(scores)) / RESOLUTION
    for share, score in zip(shares(quantise(scores)), scores, strict=True):
        assert abs(share - score / total) <= bound


def test_proportional_samples_by_rows() -> None:
    assert decide(Proportional(), [100, 300]) == (1, 3)
    assert shares(decide(Proportional(), [1000, 2000, 4000])) == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=1e-5)


def test_no_source_is_lost_however_small() -> None:
    assert decide(Proportional(), [1, 10**12]) == (1, RESOLUTION)


def test_uniform_samples_all_alike() -> None:
    assert decide(Uniform(), [1, 10**9, 17]) == (1, 1, 1)


def test_temperature_takes_the_root() -> None:
    assert shares(decide(Temperature(tau=2.0), [100, 10_000])) == pytest.approx([1 / 11, 10 / 11], abs=1e-5)


def test_temperature_one_is_proportional() -> None:
    rows = [3, 1000, 77, 12_345]
    assert shares(decide(Temperature(tau=1.0), rows)) == pytest.approx(shares(decide(Proportional(), rows)), abs=1e-5)


def test_a_high_temperature_is_uniform() -> None:
    assert shares(decide(Temperature(tau=1e9), [1, 10**12])) == pytest.approx([0.5, 0.5], abs=1e-5)


def test_the_cap_comes_before_the_temperature() -> None:
    weights = decide(Temperature(tau=2.0, cap=400), [100, 400, 10**9])
    assert weights[1] == weights[2]
    assert shares(weights)[0] == pytest.approx(1 / 5, abs=1e-5)


@given(st.floats(1.0, 100.0), st.lists(st.integers(1, 10**12), min_size=2, max_size=8))
def test_a_larger_source_is_not_sampled_less(tau: float, rows: list[int]) -> None:
    weights = decide(Temperature(tau), rows)
    in_order = [weight for _, weight in sorted(zip(rows, weights, strict=True))]
    assert in_order == sorted(in_order)
