"""Standardising, and sequences."""

import numpy as np
import pytest

from distmtl.data.transforms.base import ColumnInfo, RowBatch
from distmtl.data.transforms.build import build_transform
from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.specs import SequenceSpec, StandardiseSpec
from distmtl.errors import ConfigError
from tests.data.numbers import numeric_statistics
from tests.data.transforms.test_ragged import lists

VALUES = np.array([1.0, 2.0, 2.0, 7.0, np.nan])
STATISTICS = numeric_statistics(VALUES, ~np.isnan(VALUES), train=True)
COLUMNS = {
    "x": ColumnInfo("numeric", statistics=STATISTICS, rows=5),
    "made": ColumnInfo("numeric"),
    "image": ColumnInfo("tensor", "uint8", (2, 1, 3)),
    "list": ColumnInfo("ragged", "int32", max_length=9),
    "floats": ColumnInfo("ragged", "float32"),
}


def test_the_train_split_decides():
    transform = build_transform(StandardiseSpec(columns=("x",)), COLUMNS)
    made = transform.apply(RowBatch({"x": VALUES}, None))["x"]
    assert (np.nanmean(made), np.nanstd(made)) == (pytest.approx(0), pytest.approx(1))
    assert np.isnan(made[4])
    described = transform.describe(COLUMNS)["x"]
    again = numeric_statistics(made, ~np.isnan(made), train=True)
    assert described.rows == 5
    for name in ("nulls", "infinite", "mean", "std", "minimum", "maximum", "quantiles", "values", "counts"):
        assert getattr(described.statistics, name) == pytest.approx(getattr(again, name), abs=1e-12), name


def test_numbers_that_are_given():
    spec = StandardiseSpec(columns=("image", "x"), mean=2, std=0.5)
    transform = build_transform(spec, COLUMNS)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 1, 3)
    made = transform.apply(RowBatch({"x": VALUES, "image": image}, None))
    np.testing.assert_array_equal(made["x"], (VALUES - 2) / 0.5)
    np.testing.assert_array_equal(made["image"], (image.astype(np.float32) - 2) / 0.5)
    assert made["image"].dtype == np.float32
    assert transform.describe(COLUMNS)["image"] == ColumnInfo("tensor", "float32", (2, 1, 3))
    channels = build_transform(StandardiseSpec(columns=("image",), mean=(0, 1), std=(1, 2)), COLUMNS)
    found = channels.apply(RowBatch({"image": image}, None))["image"]
    np.testing.assert_array_equal(found[:, 0], image[:, 0])
    np.testing.assert_array_equal(found[:, 1], (image[:, 1] - 1.0) / 2)


def test_a_column_of_one_value_stays_finite():
    columns = {"x": ColumnInfo("numeric", statistics=numeric_statistics(np.ones(3), np.ones(3, bool), train=True))}
    made = build_transform(StandardiseSpec(columns=("x",)), columns).apply(RowBatch({"x": np.ones(2)}, None))
    assert made["x"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (StandardiseSpec(columns=("image",)), "'image' is a tensor, of which a source keeps no mean"),
        (StandardiseSpec(columns=("made",)), "nothing is known of the values of 'made'"),
        (StandardiseSpec(columns=("x",), std=0), "'std' is not greater than 0"),
        (StandardiseSpec(columns=("x",), mean=(1, 2)), "'x' has one number a row"),
        (StandardiseSpec(columns=("image",), mean=(1, 2, 3), std=1), r"3 numbers are given for .* \[2, 1, 3\]"),
        (StandardiseSpec(columns=("list",)), "column 'list' is ragged, not numeric or tensor"),
        (SequenceSpec(column="list", pad=0.5), "'list' holds integers, and 'pad' is 0.5"),
        (SequenceSpec(column="x"), "column 'x' is numeric, not ragged"),
    ],
)
def test_what_does_not_fit(spec, said):
    with pytest.raises(ConfigError, match=said):
        build_transform(spec, COLUMNS).describe(COLUMNS)


def test_sequences_are_cut_and_counted():
    transform = build_transform(SequenceSpec(column="list", max_length=2, pad=-1, size=7, lengths="n"), COLUMNS)
    assert transform.describe(COLUMNS) == {
        "list": ColumnInfo("ragged", "int32", pad=-1, max_length=2, size=7),
        "n": ColumnInfo("tensor", "int64"),
    }
    made = transform.apply(RowBatch({"list": Ragged.of([[1, 2, 3], [], [4]], np.int32)}, None))
    assert lists(made["list"]) == [[1, 2], [], [4]]
    assert made["n"].tolist() == [2, 0, 1]
    loose = build_transform(SequenceSpec(column="floats", pad=0.5), COLUMNS)
    assert loose.describe(COLUMNS) == {"floats": ColumnInfo("ragged", "float32", pad=0.5)}
    rows = Ragged.of([[1.5]], np.float32)
    assert loose.apply(RowBatch({"floats": rows}, None)) == {"floats": rows}
