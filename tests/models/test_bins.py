import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.features import NumericColumn
from distmtl.models.bins import bin_edges


def column(rows: list[float], *, keep_values: bool) -> NumericColumn:
    """A column as a manifest describes it, with its distinct values or with quantiles alone."""
    values, counts = np.unique(np.array(rows, np.float64), return_counts=True)
    return NumericColumn(
        name="x",
        mean=float(np.mean(rows)),
        std=float(np.std(rows)),
        minimum=float(values[0]),
        maximum=float(values[-1]),
        null_share=0.0,
        quantiles=tuple(np.quantile(rows, np.linspace(0, 1, 257), method="nearest").tolist()),
        values=tuple(values.tolist()) if keep_values else (),
        counts=tuple(counts.tolist()) if keep_values else (),
    )


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.integers(0, 5).map(float), min_size=1, max_size=300), st.integers(2, 64))
def test_edges_ascend_from_end_to_end(rows: list[float], bins: int) -> None:
    for keep_values in (True, False):
        edges = bin_edges(column(rows, keep_values=keep_values), bins)
        assert 2 <= len(edges) <= bins + 1
        assert (np.diff(edges) > 0).all()
        assert edges[0] == np.float32(min(rows))
        if len(set(np.array(rows, np.float32))) > 1:
            assert edges[-1] == np.float32(max(rows))


@settings(deadline=None)
@given(st.lists(st.integers(0, 40).map(float), min_size=2, max_size=300))
def test_few_values_are_all_edges(rows: list[float]) -> None:
    edges = bin_edges(column([*rows, 99.0], keep_values=True), bins=64)
    assert edges.tolist() == sorted({*rows, 99.0})


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40))
def test_bins_have_about_equally_many_rows(seed: int, bins: int) -> None:
    rows = np.random.default_rng(seed).lognormal(size=2000)
    edges = bin_edges(column(rows.tolist(), keep_values=True), bins)
    assert len(edges) == bins + 1
    inside = np.histogram(rows.astype(np.float32), edges)[0]
    assert inside.max() - inside.min() <= 3


def test_a_value_with_most_rows_takes_one_bin_and_leaves_the_others() -> None:
    tail = np.geomspace(100.0, 99_999.0, 80).round().tolist()
    edges = bin_edges(column([0.0] * 920 + tail, keep_values=True), bins=41)
    assert len(edges) == 41
    np.testing.assert_allclose(edges[1:], tail[1::2], rtol=0.1)


def test_a_tail_that_only_quantiles_show_still_gets_its_bins() -> None:
    tail = np.geomspace(100.0, 99_999.0, 80).tolist()
    edges = bin_edges(column([0.0] * 920 + tail, keep_values=False), bins=16)
    assert len(edges) == 16
    assert edges[1] > 0.0


def test_heavy_values_anywhere_are_edges() -> None:
    light = np.linspace(0.0, 100.0, 401).tolist()
    edges = bin_edges(column(light + [33.3] * 500 + [77.7] * 200, keep_values=True), bins=12)
    assert {np.float32(33.3), np.float32(77.7)} <= set(edges.astype(np.float32).tolist())


def test_columns_without_two_values_have_one_bin() -> None:
    nan = float("nan")
    assert bin_edges(NumericColumn("x", nan, nan, nan, nan, 1.0, ()), bins=8).tolist() == [0.0, 1.0]
    assert bin_edges(column([7.0, 7.0], keep_values=True), bins=8).tolist() == [7.0, 8.0]
