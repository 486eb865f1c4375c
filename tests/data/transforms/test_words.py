"""Words and pairs against plain Python."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.words import marks, pair, words
from tests.data.transforms.test_ragged import lists


def split(text: str | None) -> list[str]:
    return re.sub(r"([^\w\s']|_)", r" \1 ", (text or "").lower()).split()


@given(st.lists(st.none() | st.text(st.sampled_from("aBü ß,.'!\t\n 9_"), max_size=12), max_size=6))
def test_words_are_those_of_a_regular_expression(texts: list[str | None]) -> None:
    seen: list[str] = []

    def lookup(distinct: list[str]) -> list[int]:
        assert len(set(distinct)) == len(distinct)
        seen.extend(distinct)
        return list(range(len(distinct)))

    ids = words(pa.array(texts, pa.string()), lookup, lowercase=True)
    assert [[seen[i] for i in row] for row in lists(ids)] == [split(text) for text in texts]


def test_case_can_be_kept_and_slices_are_slices() -> None:
    texts = pa.array(["x", "Ab ab", None, "c"])[1:3]
    seen: list[str] = []
    words(texts, lambda distinct: [len(seen), seen.extend(distinct)][:1] * len(distinct), lowercase=False)
    assert seen == ["Ab", "ab"]


TEXT = st.lists(st.integers(2, 9), max_size=7)


@given(st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=6), st.integers(2, 12))
def test_a_pair_is_cut_like_a_patient_person_would(rows: list[tuple[list[int], list[int], bool]], most: int) -> None:
    first, second, both = ([row[place] for row in rows] for place in range(3))
    second = [text if here else [] for text, here in zip(second, both, strict=True)]
    ids, types = pair(Ragged.of(first), Ragged.of(second), marks(np.array(both, bool), 1), most)
    expected_ids, expected_types = [], []
    for texts in zip(first, second, both, strict=True):
        one, other, here = list(texts[0]), list(texts[1]), texts[2]
        while len(one) + len(other) + here > most:  # the longer one loses its last word, the second of two equals
            (one if len(one) > len(other) else other).pop()
        expected_ids.append(one + [1] * here + other)
        expected_types.append([0] * (len(one) + here) + [1] * len(other))
    assert lists(ids) == expected_ids
    assert lists(types) == expected_types


@pytest.mark.parametrize("present", [[], [True], [False, True, True]])
def test_marks(present: list[bool]) -> None:
    assert lists(marks(np.array(present, bool), 7)) == [[7] if here else [] for here in present]
