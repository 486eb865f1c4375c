import torch
from hypothesis import given
from hypothesis import strategies as st

from distmtl.data.batch import SourceBatch
from distmtl.training.micro import cut


def part(name: str, rows: int, start: int = 0) -> SourceBatch:
    values = torch.arange(start, start + rows)
    return SourceBatch(
        name, {"x": values[:, None].float()}, {"y": values.float(), "c": values}, values.float() + 1, values
    )


@given(rows=st.lists(st.integers(0, 20), min_size=1, max_size=4), micro=st.one_of(st.none(), st.integers(1, 25)))
def test_every_row_is_in_one_micro_batch(rows: list[int], micro: int | None) -> None:
    parts = [part(f"s{i}", n, 100 * i) for i, n in enumerate(rows)]
    pieces = cut(parts, micro)
    total = sum(rows)
    for index, original in enumerate(parts):
        kept = torch.cat([piece[index].positions for piece in pieces])
        if total:
            assert kept.tolist() == original.positions.tolist()
            assert torch.cat([piece[index].targets["y"] for piece in pieces]).tolist() == original.targets["y"].tolist()
    for piece in pieces:
        assert 1 <= sum(p.rows for p in piece) <= (micro or total or 1)


def test_a_worker_without_rows_gets_a_row_that_weighs_nothing() -> None:
    ((blank, other),) = cut([part("a", 0), part("b", 0)], 4)
    assert (blank.rows, other.rows) == (1, 0)
    assert blank.targets["c"].tolist() == [0]
    assert blank.inputs["x"].shape == (1, 1)
    assert blank.weights is not None
    assert blank.weights.tolist() == [0.0]
