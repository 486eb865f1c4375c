from dataclasses import replace

from distmtl.data.manifest import VALUES_LIMIT, NumericStatistics
from distmtl.data.merge_statistics import merge_numeric

FEW = NumericStatistics(0, 0, 1.0, 1.0, 0.0, 2.0, (0.0, 2.0), (0.0, 2.0), (5, 5))


def test_distinct_values_of_several_sources_are_counted_together() -> None:
    other = replace(FEW, values=(-1.0, 2.0), counts=(3, 4))
    column = merge_numeric("x", [(10, FEW), (7, other)])
    assert column.values == (-1.0, 0.0, 2.0)
    assert column.counts == (3, 5, 9)


def test_values_are_left_out_where_one_source_or_all_together_have_too_many() -> None:
    unknown = replace(FEW, values=None, counts=None)
    many = replace(FEW, values=tuple(float(i) for i in range(3, 3 + VALUES_LIMIT)), counts=(1,) * VALUES_LIMIT)
    for other in (unknown, many):
        column = merge_numeric("x", [(10, FEW), (10, other)])
        assert (column.values, column.counts) == ((), ())
