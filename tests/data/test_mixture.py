import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.mixture import MAX_WEIGHT, Mixture, split
from distmtl.errors import ConfigError

WEIGHTS = st.lists(st.integers(0, MAX_WEIGHT) | st.integers(0, 5), min_size=1, max_size=20).filter(any)
PER = st.sampled_from(["row", "step"])


@st.composite
def mixtures(draw):
    first = draw(WEIGHTS)
    mixture = Mixture.constant({f"s{i}": w for i, w in enumerate(first)}, draw(st.integers(1, 2000)), draw(PER))
    weights = st.lists(st.integers(0, MAX_WEIGHT), min_size=len(first), max_size=len(first)).filter(any)
    for step in sorted(draw(st.sets(st.integers(1, 60), max_size=6))):
        mixture = mixture.extended(step, draw(weights))
    return mixture


@given(st.integers(0, 2**60), WEIGHTS)
def test_a_split_is_whole_monotone_and_close_to_the_exact_share(units, weights):
    counts, more = split(units, weights), split(units + 1, weights)
    assert sum(counts) == units
    assert sorted(b - a for a, b in zip(counts, more, strict=True)) == [0] * (len(weights) - 1) + [1]
    for count, weight in zip(counts, weights, strict=True):
        error = abs(count - Fraction(units * weight, sum(weights)))
        assert error < math.ceil(math.log2(len(weights))) or error == 0
        assert weight or not count


@given(mixtures(), st.integers(0, 80))
def test_quotas_fill_every_step(mixture, step):
    quotas = mixture.quotas(step)
    assert sum(quotas) == mixture.rows
    assert min(quotas) >= 0
    assert sum(mixture.drawn(step)) == step * mixture.rows
    if mixture.per == "step":
        assert max(quotas) == mixture.rows


@given(mixtures(), st.integers(1, 10**9))
def test_no_source_drifts_from_its_weight(mixture, steps):
    last = mixture.entries[-1]
    drawn = mixture.drawn(last.first_step + steps)
    unit = 1 if mixture.per == "row" else mixture.rows
    for count, base, weight in zip(drawn, last.base, last.weights, strict=True):
        exact = Fraction(steps * mixture.rows * weight, sum(last.weights))
        assert abs(count - base - exact) < unit * len(drawn)


@given(mixtures(), st.integers(1, 100), WEIGHTS)
def test_an_extension_leaves_the_past_as_it_was(mixture, later, weights):
    weights = (weights * len(mixture.sources))[: len(mixture.sources)]
    first_step = mixture.entries[-1].first_step + later
    if not any(weights):
        return
    extended = mixture.extended(first_step, weights)
    for step in range(first_step):
        assert extended.quotas(step) == mixture.quotas(step)
    assert extended.drawn(first_step) == mixture.drawn(first_step)
    assert extended.entries[-1].weights == tuple(weights)


@pytest.mark.parametrize("per", ["row", "step"])
def test_weights_that_change_every_step_starve_no_source(per):
    random = np.random.default_rng(0)
    mixture = Mixture.constant(dict.fromkeys("abcdefgh", 2**40), rows=3, per=per)
    for step in range(1, 2000):
        mixture = mixture.extended(step, 2**40 + random.integers(0, 2**30, size=8))
    shares = np.array(mixture.drawn(2000)) / (2000 * 3)
    assert np.all(np.abs(shares - 1 / 8) < 0.03)


def test_the_same_weights_are_no_new_entry():
    mixture = Mixture.constant({"a": 1, "b": 2}, 8)
    assert mixture.extended(5, [1, 2]) is mixture
    assert mixture.extended(5, np.array([1, 2])) is mixture


def test_json_keeps_it_exactly():
    mixture = Mixture.constant({"a": MAX_WEIGHT, "b": 1}, 10**6, "step").extended(10**12, (3, MAX_WEIGHT))
    assert Mixture.from_json(json.loads(json.dumps(mixture.to_json()))) == mixture


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, MAX_WEIGHT + 1], [1, 0.5]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ConfigError, match="the sampler gave"):
        Mixture.constant({"a": 1, "b": 2}, 8).extended(1, weights)


def test_an_entry_must_come_after_the_last():
    mixture = Mixture.constant({"a": 1, "b": 2}, 8).extended(4, (2, 1))
    with pytest.raises(ConfigError, match="later first step"):
        mixture.extended(4, (1, 1))


@given(st.lists(st.lists(st.integers(0, 2**62), min_size=3, max_size=3).filter(any), min_size=1, max_size=5),
       st.integers(0, 20), st.integers(1, 20), st.sampled_from(["row", "step"]))  # fmt: skip
def test_what_several_steps_begin_with_is_what_each_begins_with(weights, first, steps, per):
    log = Mixture.constant(dict(zip("abc", weights[0], strict=True)), 37, per)
    for number, later in enumerate(weights[1:], start=1):
        log = log.extended(5 * number, later)
    together = log.drawn_before(range(first, first + steps))
    assert [*map(tuple, together.tolist())] == [log.drawn(step) for step in range(first, first + steps)]
