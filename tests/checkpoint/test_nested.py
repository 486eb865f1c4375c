"""Splitting and joining nested states."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from distmtl.checkpoint.nested import join, split
from distmtl.checkpoint.records import to_json
from tests.checkpoint.states import every_kind, same

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | arrays.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint16, np.uint64, np.bool_, np.complex128]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
    | st.floats().map(np.float64)
    | st.integers(-100, 100).map(np.int8)
    | st.lists(st.floats(width=32)).map(torch.tensor)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["$array", "a/b", "$dict", ""])
STATES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.integers() | st.tuples(st.integers(), KEYS), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(STATES)
def test_joined_is_what_was_split(state: Any) -> None:
    values, tensors = split(state)
    assert same(join(json.loads(to_json(values)), tensors), state)


def test_arrays_are_copied_and_other_byte_orders_keep_their_numbers() -> None:
    array = np.arange(3.0)
    big = np.arange(3, dtype=">i4")
    frozen = np.arange(2)
    frozen.flags.writeable = False
    values, tensors = split({"a": array[::-1], "b": big, "c": frozen})
    array[:] = 0
    joined = join(values, tensors)
    assert joined["a"].tolist() == [2.0, 1.0, 0.0]
    assert joined["b"].tolist() == [0, 1, 2]
    assert joined["c"].flags.writeable


@pytest.mark.parametrize("bad", [object(), {1, 2}, np.array(["a"]), b"bytes", type("MyInt", (int,), {})(3)])
def test_what_cannot_be_kept_is_named(bad: object) -> None:
    with pytest.raises(TypeError, match="'sampler/0/x'"):
        split({"sampler": [{"x": bad}]})


def test_names_say_where_a_tensor_stood() -> None:
    values, tensors = split({"sampler": {"ema": np.ones(2)}, "a/b": [torch.ones(1)], "a": {"b": [torch.ones(1)]}})
    assert list(tensors) == ["sampler/ema", "a/b/0", "a/b/0'"]
    assert values["a"] == {"b": [{"$tensor": "a/b/0'"}]}


def test_the_usual_state() -> None:
    state = every_kind(3).values
    assert same(join(*split(state)), state)
