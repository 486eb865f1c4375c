import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.permute import MAX_SIZE, key, permute, shuffle, unpermute

KEYS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("bits", range(17))
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_it_is_a_bijection_around_every_power_of_two(bits, beside):
    size = max(1, 2**bits + beside)
    indices = np.arange(size)
    permuted = permute(indices, size, key(3, "test", size))
    assert np.array_equal(np.sort(permuted), indices)
    assert np.array_equal(unpermute(permuted, size, key(3, "test", size)), indices)


@given(st.integers(1, MAX_SIZE), KEYS, st.data())
def test_the_inverse_is_exact_at_any_size(size, a_key, data):
    indices = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=50)))
    permuted = permute(indices, size, a_key)
    assert permuted.min() >= 0
    assert permuted.max() < size
    assert np.array_equal(unpermute(permuted, size, a_key), indices)


@given(st.lists(st.tuples(st.integers(1, 2000), KEYS, st.integers(0, 1999)), min_size=1, max_size=50))
def test_sizes_and_keys_may_differ_from_index_to_index(rows):
    sizes, keys, indices = (np.array(column, dtype=np.uint64) for column in zip(*rows, strict=True))
    indices %= sizes
    together = permute(indices, sizes, keys)
    alone = [permute(i, n, k).item() for i, n, k in zip(indices, sizes, keys, strict=True)]
    assert together.tolist() == alone
    assert np.array_equal(unpermute(together, sizes, keys), indices.astype(np.int64))


def test_the_permutation_never_changes():
    # Resumed runs depend on these numbers: a change of them is a change of every plan.
    assert permute(np.arange(10), 10, key(0, "frozen", 1)).tolist() == [6, 0, 1, 2, 7, 3, 5, 9, 8, 4]
    large = permute(np.arange(3), 2**50 - 3, key(0, "frozen", 2))
    assert large.tolist() == [214210297613717, 529284931598957, 749176175975076]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_all_permutations_of_a_small_range_are_equally_likely(size):
    trials = 100 * math.factorial(size)
    _, counts = np.unique(_many(size, trials), axis=0, return_counts=True)
    freedom = math.factorial(size) - 1
    assert len(counts) == freedom + 1
    assert ((counts - 100) ** 2 / 100).sum() < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [7, 8, 9, 16, 17, 33])
def test_neighbours_are_scattered_independently(size):
    trials = 10_000
    permuted = _many(size, trials)
    for left in range(size - 1):
        counts = np.zeros((size, size))
        np.add.at(counts, (permuted[:, left], permuted[:, left + 1]), 1)
        expected = trials / (size * (size - 1))
        freedom = size * (size - 1) - 1
        observed = counts[~np.eye(size, dtype=bool)]
        assert ((observed - expected) ** 2 / expected).sum() < freedom + 5 * math.sqrt(2 * freedom)


def test_a_key_tells_its_words_apart():
    keys = [
        key(0), key(1), key(0, 0), key(0, "0"), key(0, "a", "bc"), key(0, "ab", "c"), key(0, "abc"),
        key(0, 2**63), key(0, -1), key(0, "é"), key(0, 1, 2), key(0, 2, 1),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert all(0 <= k < 2**64 for k in keys)


def test_permutations_of_different_keys_differ():
    orders = {permute(np.arange(100), 100, key(0, i)).tobytes() for i in range(1000)}
    assert len(orders) == 1000


def _many(size, trials):
    keys = np.repeat(np.array([key(0, "quality", i) for i in range(trials)], dtype=np.uint64), size)
    return permute(np.tile(np.arange(size), trials), size, keys).reshape(trials, size)


@pytest.mark.parametrize("bits", range(17))
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_shuffle_has_every_number_once(bits, beside):
    size = max(1, 2**bits + beside)
    assert np.array_equal(np.sort(shuffle(size, key(3, "test", size))), np.arange(size))


@given(st.integers(1, 300), st.lists(KEYS, min_size=1, max_size=5))
def test_shuffles_of_several_keys_are_those_of_each(size, keys):
    together = shuffle(size, np.array(keys, dtype=np.uint64))
    assert together.tolist() == [shuffle(size, key_).tolist() for key_ in keys]


def test_shuffles_never_change():
    assert shuffle(12, key(0, "test")).tolist() == [3, 0, 10, 2, 1, 5, 8, 7, 11, 9, 4, 6]


def test_every_shuffle_of_a_few_numbers_is_about_as_frequent():
    orders = shuffle(4, np.array([key(i, "even") for i in range(24_000)], dtype=np.uint64))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == math.factorial(4)
    assert ((counts - 1000) ** 2 / 1000).sum() < 60  # chi-square with 23 degrees of freedom: 1 in 30,000
