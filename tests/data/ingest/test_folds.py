"""Statistics by pieces: the same bits however they are cut, and the same numbers as over the whole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distmtl.data.ingest.folds import CountFold, NumberFold
from distmtl.data.ingest.moments import FOLD, Moments, MomentsFold
from distmtl.data.statistics import mean_and_std

# Subnormal numbers have no relative precision that could be asked for.
FLOATS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, width=64)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=60), st.lists(st.integers(0, 60)))
def test_cuts_change_nothing(values: list[float], cuts: list[int]) -> None:
    array = np.array(values, np.float32)
    whole, pieces = NumberFold(train=True), NumberFold(train=True)
    whole.add(pa.array(array), np.ones(len(array), bool))
    for part in np.split(array, sorted(cut for cut in cuts if cut <= len(array))):
        pieces.add(pa.array(part), np.ones(len(part), bool))
    whole.finish()
    pieces.finish()
    assert repr(whole.statistics()) == repr(pieces.statistics())


@given(st.lists(npst.arrays(np.float64, st.integers(0, 30), elements=FLOATS), min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts: list[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> None:
    whole = np.concatenate(parts)
    merged = Moments()
    for part in parts:
        fold = MomentsFold()
        fold.add(part)
        merged += fold.finish()
    assert merged.count == len(whole)
    if len(whole):
        mean, std = mean_and_std(whole)
        size = float(np.abs(whole).max())
        assert merged.mean / (size or 1) == pytest.approx(mean / (size or 1), abs=1e-12)
        assert merged.std / (size or 1) == pytest.approx(std / (size or 1), abs=1e-6)


def test_moments_past_one_fold() -> None:
    values = np.random.default_rng(0).normal(5, 3, 3 * FOLD + 17)
    for step in (1000, FOLD, 10**6):
        fold = MomentsFold()
        for start in range(0, len(values), step):
            fold.add(values[start : start + step])
        found = fold.finish()
        assert found.mean == pytest.approx(values.mean(), rel=1e-12)
        assert found.std == pytest.approx(values.std(), rel=1e-12)
        if step == 1000:
            first = found
        assert found == first


def test_constant_columns_have_no_deviation() -> None:
    fold = NumberFold(train=True)
    for _ in range(3):
        fold.add(pa.array(np.full(FOLD, 0.1)), np.ones(FOLD, bool))
    fold.finish()
    found = fold.statistics()
    assert (found.mean, found.std) == (0.1, 0.0)


def test_counts_of_words_grow() -> None:
    fold, other = CountFold(), CountFold()
    fold.add(pa.array(np.array([0, -1, 0], np.int32)), np.ones(3, bool))
    other.add(pa.array(np.array([4], np.int32)), np.ones(1, bool))
    fold.merge(other)
    assert (fold.nulls, fold.of_words(6).tolist()) == (1, [2, 0, 0, 0, 1, 0])
