"""Inputs and labels of a run: statistics merged over sources as if they were one, and clear refusals."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.describe import describe_inputs, describe_label
from distmtl.data.labels import LabelKind, unknown_labels
from distmtl.data.manifest import QUANTILES, NumericStatistics
from distmtl.data.merge_statistics import merge_categorical, merge_numeric
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.data.specs import SourceSpec
from distmtl.errors import ConfigError, SourceError
from distmtl.features import CategoricalColumn, NumericColumn, TensorColumn
from tests.data.numbers import numeric_statistics


def source(folder: Path, name: str, columns: Mapping[str, object], valid: Mapping[str, object] | None = None) -> Source:
    files = {"train": columns} | ({} if valid is None else {"valid": valid})
    paths = {}
    for split, data in files.items():
        path = folder / f"{name}-{split}.parquet"
        pq.write_table(pa.table(dict(data)), path)
        paths[split] = [str(path)]
    pack(paths, str(folder / name), PackOptions(order="keep"))
    return open_source(str(folder / name))


def spec(weight: str | None = None, **inputs: str | list[str]) -> SourceSpec:
    return SourceSpec(uri="x", inputs=inputs, weight=weight)


def statistics(values: list[float], nulls: int = 0) -> NumericStatistics:
    valid = np.arange(len(values) + nulls) < len(values)
    return numeric_statistics(np.array(values + [0.0] * nulls), valid, train=True)


def test_one_source_is_described_as_its_manifest_says(tmp_path: Path) -> None:
    rows = 100
    data = source(
        tmp_path,
        "a",
        {
            "x": pa.array(np.arange(rows), mask=np.arange(rows) % 4 == 0),
            "w": ["b", "a"] * 50,
            "image": pa.array([[1, 2, 3]] * rows, pa.list_(pa.uint8(), 3)),
        },
    )
    groups = describe_inputs({"a": data}, {"a": spec(numbers=["x"], words="w", image="image")})["a"]
    assert [(group.name, group.kind) for group in groups] == [
        ("image", "tensor"),
        ("numbers", "numeric"),
        ("words", "categorical"),
    ]
    image, x, w = (group.columns[0] for group in groups)
    kept = np.array([i for i in range(rows) if i % 4])
    assert isinstance(x, NumericColumn)
    assert (x.mean, x.std, x.minimum, x.maximum) == (pytest.approx(kept.mean()), pytest.approx(kept.std()), 1, 99)
    assert (x.null_share, len(x.quantiles)) == (0.25, QUANTILES)
    assert w == CategoricalColumn("w", ("a", "b"), (50, 50))
    assert image == TensorColumn("image", "uint8", (3,))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), min_size=1, max_size=4))
def test_merged_statistics_are_those_of_all_rows(parts: list[list[float]]) -> None:
    merged = merge_numeric("x", [(len(part) + 1, statistics(part, nulls=1)) for part in parts])
    every = np.concatenate(parts)
    assert merged.mean == pytest.approx(every.mean(), abs=1e-6)
    assert merged.std == pytest.approx(every.std(), abs=1e-6, rel=1e-9)
    assert (merged.minimum, merged.maximum) == (every.min(), every.max())
    assert merged.null_share == pytest.approx(len(parts) / (len(every) + len(parts)))
    assert list(merged.quantiles) == sorted(merged.quantiles)
    assert (merged.quantiles[0], merged.quantiles[-1]) == (every.min(), every.max())


def test_merged_quantiles_follow_the_mixture() -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(size=20_000), random.normal(3, 2, size=5_000), np.repeat([0.0, 1.0], 1000)]
    merged = merge_numeric("x", [(len(part), statistics(part.tolist())) for part in parts])
    every = np.sort(np.concatenate(parts))
    # Compare shares and not values: a repeated value covers many shares.
    cuts = np.linspace(0, 1, QUANTILES)
    low, high = (np.searchsorted(every, merged.quantiles, side=side) / len(every) for side in ("left", "right"))
    assert np.all(low <= cuts + 0.01)
    assert np.all(high >= cuts - 0.01)


def test_merging_one_part_changes_nothing() -> None:
    part = statistics([3.0, 1.0, 1.0])
    merged = merge_numeric("x", [(3, part)])
    assert (merged.mean, merged.std, merged.quantiles) == (part.mean, part.std, part.quantiles)


def test_extreme_numbers_do_not_overflow() -> None:
    part = statistics([1.7e308, -1.7e308])
    assert (part.mean, part.std) == (0.0, pytest.approx(1.7e308))
    assert merge_numeric("x", [(2, part), (2, part)]).std == pytest.approx(1.7e308)
    assert statistics([1.7976931348623157e308] * 7).mean == 1.7976931348623157e308


def test_vocabularies_are_united() -> None:
    assert merge_categorical("w", [(("a", "c"), (1, 2)), (("b", "c"), (3, 4))]) == CategoricalColumn(
        "w", ("a", "b", "c"), (1, 3, 6)
    )


def test_sources_share_columns_of_equal_groups_only(tmp_path: Path) -> None:
    a = source(tmp_path, "a", {"x": [0.0, 2.0], "w": ["b", "c"]})
    b = source(tmp_path, "b", {"x": [4.0, 6.0], "w": ["a", "b"]})
    sources = {"a": a, "b": b}
    shared = describe_inputs(sources, {"a": spec(c="w", n="x"), "b": spec(n="x", c="w")})
    assert shared["a"] == shared["b"]
    assert isinstance(shared["a"][1].columns[0], NumericColumn)
    assert shared["a"][1].columns[0].mean == 3
    assert shared["a"][0].columns[0] == CategoricalColumn("w", ("a", "b", "c"), (1, 2, 1))
    apart = describe_inputs(sources, {"a": spec(n="x"), "b": spec(m="x")})
    assert [group[0].columns[0].mean for group in apart.values()] == [1, 5]  # type: ignore[union-attr]


def test_a_column_without_values_is_all_null(tmp_path: Path) -> None:
    data = source(tmp_path, "a", {"x": pa.nulls(3), "y": [1, 2, 3]})
    column = describe_inputs({"a": data}, {"a": spec(n=["x", "y"])})["a"][0].columns[0]
    assert isinstance(column, NumericColumn)
    assert (column.null_share, column.mean, len(column.quantiles)) == (1.0, 0.0, QUANTILES)


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    a = source(tmp_path, "a", {"x": [0.0, np.inf], "w": ["b", "c"], "t": pa.array([[1]] * 2), "u": pa.array([[1]] * 2)})
    b = source(tmp_path, "b", {"x": ["1", "2"], "neg": [-1, 1]})
    cases: list[tuple[dict[str, Source], dict[str, SourceSpec], type[Exception], str]] = [
        ({"a": a}, {"a": spec(n="y")}, SourceError, "no column 'y'"),
        ({"a": a}, {"a": spec(n="x")}, SourceError, "1 infinite values in split 'train'"),
        ({"b": b}, {"b": spec(n=["neg", "x"])}, ConfigError, "'neg' is numeric and 'x' is categorical"),
        ({"a": a}, {"a": spec(t=["t", "u"])}, ConfigError, "2 tensor columns"),
        ({"b": b}, {"b": spec(n=["neg", "neg"])}, ConfigError, "named twice"),
        ({"b": b}, {"b": spec(n=[])}, ConfigError, "no columns"),
        ({"b": b}, {"b": spec("neg", n="neg")}, SourceError, "holds -1 in split 'train'"),
        ({"b": b}, {"b": spec("x", n="neg")}, SourceError, "weight column 'x' is not numeric"),
        ({"b": b}, {"b": spec("nge", n="neg")}, SourceError, "Did you mean 'neg'"),
    ]
    for sources, specs, error, message in cases:
        with pytest.raises(error, match=message):
            describe_inputs(sources, specs)
    c = source(tmp_path, "c", {"x": [1, 2]})
    with pytest.raises(ConfigError, match="categorical in source 'b' and numeric in source 'c'"):
        describe_inputs({"b": b, "c": c}, {"b": spec(n="x"), "c": spec(n="x")})


LABELS = {
    "bit": [0, 1, 1, None],
    "float bit": [0.0, 1.0, None, 1.0],
    "flag": [True, False, None, True],
    "yes": ["y", "n", "y", None],
    "class": [0, 3, 3, 1],
    "name": ["a", "b", "c", "a"],
    "number": [0.5, 1.5, None, 2.5],
    "none": pa.nulls(4, pa.float32()),
    "one": [1, 1, None, 1],
    "gap": [0, 10_000_000, 5, None],
    "infinite": [0.0, 1.0, np.inf, 1.0],
    "negative": [-1, 0, 1, 1],
    "tensor": pa.array([[1]] * 4),
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Source:
    valid = LABELS | {"bit": [2, 0, None, 2], "class": [4, 0, 1, -1], "name": ["d", "a", None, "d"]}
    return source(tmp_path_factory.mktemp("labels"), "labels", LABELS, valid)


@pytest.mark.parametrize(
    ("column", "kind", "classes", "counts", "nulls"),
    [
        ("bit", "binary", None, (1, 2), 1),
        ("float bit", "binary", None, (1, 2), 1),
        ("flag", "binary", None, (1, 2), 1),
        ("yes", "binary", ("n", "y"), (1, 2), 1),
        ("class", "multiclass", None, (1, 1, 0, 2), 0),
        ("name", "multiclass", ("a", "b", "c"), (2, 1, 1), 0),
        ("number", "regression", None, None, 1),
        ("class", "regression", None, None, 0),
    ],
)
def test_labels(
    labelled: Source,
    column: str,
    kind: LabelKind,
    classes: tuple[str, ...] | None,
    counts: tuple[int, ...] | None,
    nulls: int,
) -> None:
    label = describe_label(labelled.split("train"), column, kind)
    assert (label.column, label.classes, label.class_counts) == (column, classes, counts)
    assert (label.nulls, label.valid) == (nulls, 4 - nulls)


def test_label_statistics(labelled: Source) -> None:
    label = describe_label(labelled.split("train"), "number", "regression")
    assert (label.mean, label.std, label.minimum, label.maximum) == (1.5, pytest.approx((2 / 3) ** 0.5), 0.5, 2.5)


def test_labels_that_train_does_not_know_are_counted(labelled: Source) -> None:
    train, valid = labelled.split("train"), labelled.split("valid")
    kinds: list[tuple[str, LabelKind]] = [
        ("bit", "binary"),
        ("class", "multiclass"),
        ("name", "multiclass"),
        ("number", "regression"),
    ]
    for (column, kind), unknown in zip(kinds, (2, 2, 2, 0), strict=True):
        label = describe_label(train, column, kind)
        assert (unknown_labels(train, label), unknown_labels(valid, label)) == (0, unknown)


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        ("nmae", "multiclass", "Did you mean 'name'"),
        ("class", "binary", "label out of range: target 'class' holds 3"),
        ("negative", "binary", "holds -1"),
        ("negative", "multiclass", "holds -1"),
        ("number", "multiclass", "label out of range: target 'number' holds 0.5"),
        ("number", "binary", "holds 0.5"),
        ("name", "binary", "3 distinct values in train: 'a', 'b', 'c'"),
        ("name", "regression", "--numeric name"),
        ("none", "binary", "no label in split 'train'"),
        ("none", "regression", "no label"),
        ("one", "binary", "holds only 1"),
        ("gap", "multiclass", "holds 10000000"),
        ("infinite", "regression", "1 infinite"),
        ("tensor", "regression", "is a tensor"),
    ],
)
def test_labels_that_do_not_fit(labelled: Source, column: str, kind: LabelKind, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        describe_label(labelled.split("train"), column, kind)
    assert caught.value.where == labelled.uri
    assert caught.value.remedy


def test_a_number_with_too_many_values_is_no_class(tmp_path: Path) -> None:
    data = source(tmp_path, "a", {"x": np.arange(1025)})
    with pytest.raises(SourceError, match="more than 1024 distinct"):
        describe_label(data.split("train"), "x", "multiclass")
