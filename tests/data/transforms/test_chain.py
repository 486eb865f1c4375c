"""Chains: what they need, what they refuse, and which row they blame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.transforms.base import ColumnInfo
from distmtl.data.transforms.chain import Chain, RowFailure, first_failing
from distmtl.data.transforms.specs import HashWordsSpec, RandomFlipSpec, SequenceSpec, StandardiseSpec
from distmtl.errors import ConfigError
from tests.data.transforms.memory import COLUMNS, custom, images


def test_it_reads_what_is_needed_and_no_more():
    words = HashWordsSpec(columns=("text",))
    cut = SequenceSpec(column="tokens", max_length=3)
    chain = Chain((words, cut), COLUMNS, "s")
    assert chain.columns["tokens"].max_length == 3
    assert chain.reads(["tokens"]) == ["text"]
    assert chain.reads(["tokens", "image"]) == ["image", "text"]
    assert Chain((), COLUMNS, "s").reads(["list"]) == ["list"]
    # A column that a transform changes is read though it bears the name of what is wanted.
    assert Chain((RandomFlipSpec(column="image"),), COLUMNS, "s").reads(["image"]) == ["image"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RandomFlipSpec(column="imgae"), r"there is no column 'imgae'. Did you mean 'image'\?"),
        (StandardiseSpec(columns=("text",)), "column 'text' is text, not numeric or tensor"),
        (custom("Missing"), "module 'tests.data.transforms.custom' has no 'Missing'"),
        (custom("NoTransform"), "transform 'tests.data.transforms.custom:NoTransform' has no 'reads'"),
        (custom("Unread"), "it reads column 'picture', which there is not"),
        (custom("Undescribed"), r"'describe' failed: KeyError: 'images' \(.*custom.py:"),
        (custom("FailsOn"), "does not take these arguments: missing a required argument: 'row'"),
    ],
)
def test_a_transform_that_does_not_fit_is_named(spec, said):
    with pytest.raises(ConfigError, match=rf"^sources\.s\.transforms\.1: .*{said}"):
        Chain((HashWordsSpec(columns=("text",)), spec), COLUMNS, "s")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("float", r"column 'image' is \(\(1, 1, 4, 5\), 'float32'\), not \(\(1, 1, 4, 5\), 'int32'\)"),
        ("short", r"column 'image' is \(\(0, 1, 4, 5\), 'int32'\), not \(\(1, 1, 4, 5\), 'int32'\)"),
        ("flat", r"\(\(1, 20\), 'int32'\), not"),
        ("nothing", r"it gave the columns \[\] and had described \['image'\]"),
        ("more", r"it gave the columns \['image', 'more'\] and had described \['image'\]"),
    ],
)
def test_what_was_not_described_is_refused(what, said):
    chain = Chain((custom("Gives", what=what),), COLUMNS, "s")
    with pytest.raises(RowFailure, match=said) as caught:
        chain.apply({"image": images(np.arange(4))}, None, 4)
    assert caught.value.row == 0
    assert caught.value.transform == "0 ('tests.data.transforms.custom:Gives')"


def test_two_transforms_of_one_kind_draw_differently():
    chain = Chain((RandomFlipSpec(column="image"), RandomFlipSpec(column="image")), COLUMNS, "s")
    rows = images(np.arange(400))
    keys = np.arange(400, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    made = chain.apply({"image": rows}, keys, 400)["image"]
    assert 0.4 < np.mean([np.array_equal(a, b) for a, b in zip(made, rows, strict=True)]) < 0.6


@given(st.integers(1, 50), st.data())
def test_the_first_row_that_fails_by_itself_is_found(rows, data):
    bad = data.draw(st.sets(st.integers(0, rows - 1), min_size=1))

    def fails(start, stop):
        found = sorted(bad & set(range(start, stop)))
        return ValueError(found[0]) if found else None

    row, error = first_failing(fails, rows, ValueError("all"))
    assert row == min(bad)
    assert rows == 1 or error.args == (min(bad),)


def test_only_rows_that_were_described_as_numbers_are_numbers():
    columns = COLUMNS | {"image": ColumnInfo("numeric")}
    chain = Chain((custom("Gives", what="float"),), columns, "s")
    with pytest.raises(RowFailure, match=r"not \(\(1,\), 'float64'\)"):
        chain.apply({"image": images(np.arange(2))}, None, 2)
