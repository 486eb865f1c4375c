import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.blocks import LoaderSource
from distmtl.data.sweep import sweep
from tests.data.memory import MemorySplit, NumberDecoder


@settings(deadline=None)
@given(st.integers(1, 1000), st.sampled_from([16, 64, 1024]), st.integers(1, 64), st.integers(1, 300), st.booleans())
def test_workers_see_every_row_once_in_row_order(rows, block_rows, size, batch_rows, appended):
    split = MemorySplit(rows, block_rows, ((0, 5),) if appended and rows > 5 else ())
    seen = []
    for rank in range(size):
        shares = list(sweep(LoaderSource("s", split, NumberDecoder()), rank, size, batch_rows))
        sizes = [share.rows for share in shares]
        assert all(n == batch_rows for n in sizes[:-1])
        assert rows // size <= sum(sizes) <= rows // size + 1
        for share in shares:
            assert share.source == "s"
            assert torch.equal(share.targets["y"], share.positions)
            assert torch.equal(share.inputs["x"][:, 0], share.positions.float())
            assert torch.equal(share.weights, share.positions.double())
            seen += share.positions.tolist()
    assert seen == list(range(rows))


def test_a_worker_reads_only_the_blocks_of_its_share_and_each_once():
    split = MemorySplit(1000, 64)
    list(sweep(LoaderSource("s", split, NumberDecoder()), 1, 4, 10))
    assert split.reads == dict.fromkeys(range(250 // 64, 500 // 64 + 1), 1)
