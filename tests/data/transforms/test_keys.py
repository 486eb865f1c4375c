"""Keys of rows: the same wherever a row is, and different for whatever tells rows apart."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.transforms.keys import integers, keys_of, row_keys, uniform

NUMBERS = np.arange(20_000, dtype=np.int64)


def keys(seed: int = 0, source: str = "s", pass_: int = 0) -> np.ndarray:
    return row_keys(seed, source, np.full_like(NUMBERS, pass_), NUMBERS)


@given(st.lists(st.tuples(st.integers(0, 2**50), st.integers(0, 2**62)), max_size=50), st.integers(0, 2**63 - 1))
def test_a_row_has_its_key_whatever_stands_beside_it(rows: list[tuple[int, int]], seed: int) -> None:
    passes, numbers = (np.array(column, np.int64) for column in (zip(*rows, strict=True) if rows else ([], [])))
    together = row_keys(seed, "s", passes, numbers)
    alone = [row_keys(seed, "s", passes[i : i + 1], numbers[i : i + 1])[0] for i in range(len(rows))]
    assert together.tolist() == alone


def test_keys_differ() -> None:
    found = [keys(), keys(seed=1), keys(source="t"), keys(pass_=1), keys_of(keys(), 0), keys_of(keys(), 1)]
    assert len(np.unique(found)) == 6 * len(NUMBERS)


def test_these_very_keys_stay() -> None:  # a resumed run must augment as the first attempt did
    found = row_keys(7, "news", np.array([0, 3]), np.array([0, 12345]))
    assert [f"{key:016x}" for key in found.tolist()] == ["d4ea059f9bf9fa1a", "d263b853bdc25b44"]
    assert uniform(found, "flip").tolist() == [0.6968732373845711, 0.7929723093560265]


def test_draws_are_even_and_independent() -> None:
    a, b, next_pass = uniform(keys(), "a"), uniform(keys(), "b"), uniform(keys(pass_=1), "a")
    for draws in (a, b, next_pass):
        assert draws.min() >= 0.0
        assert draws.max() < 1.0
        counts = np.histogram(draws, 50, (0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 100  # chi-square of 49 degrees; exceeded once in 50,000
    for one, other in ((a, b), (a, next_pass), (a[1:], a[:-1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_integers_cover_their_range() -> None:
    found = integers(keys(), "top", 5)
    assert np.bincount(found, minlength=5).min() > 3600
    assert found.max() == 4
